import org.apache.cassandra.io.sstable.CQLSSTableWriter;

/** Writes SSTables of bench.readings without a node: DIRECTORY FIRST-ID END-ID. What a row holds follows from its id alone, as instant_table.rs has it. */
public class Readings {
    static final char[] DIGITS = "0123456789abcdefghjkmnpqrstvwxyz".toCharArray();
    static final int WORDS = 32;

    public static void main(String[] args) throws Exception {
        CQLSSTableWriter writer = CQLSSTableWriter.builder()
            .inDirectory(args[0])
            .forTable("CREATE TABLE bench.readings (id bigint PRIMARY KEY, payload text)")
            .using("INSERT INTO bench.readings (id, payload) VALUES (?, ?)")
            .withBufferSizeInMiB(96)
            .build();
        for (long id = Long.parseLong(args[1]), end = Long.parseLong(args[2]); id < end; id++)
            writer.addRow(id, payload(id));
        writer.close();
        System.exit(0);
    }

    static String payload(long id) {
        StringBuilder text = new StringBuilder(WORDS * 13);
        long state = (id + 1) * 0x9e3779b97f4a7c15L;
        for (int word = 0; word < WORDS; word++) {
            state ^= state >>> 12;
            state ^= state << 25;
            state ^= state >>> 27;
            long number = state * 0x2545f4914f6cdd1dL;
            for (int digit = 0; digit < 13; digit++)
                text.append(DIGITS[(int) (number >>> 5 * digit & 31)]);
        }
        return text.toString();
    }
}
