import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.DigestOutputStream;
import java.security.MessageDigest;
import java.security.Permission;
import java.util.HexFormat;

import org.apache.cassandra.tools.SSTableExport;

/**
 * Runs sstabledump on every file named in a list and prints, a line each, its exit status and the SHA-256 of its output.
 * Starting a JVM for each of some hundred SSTables would take minutes; this way it is the same tool in seconds.
 */
public final class SstableDumps
{
    private static final class Exit extends SecurityException
    {
        private final int status;

        private Exit(int status)
        {
            this.status = status;
        }
    }

    private static volatile boolean done;

    public static void main(String[] args) throws Exception
    {
        // The tool ends with System.exit; only so can it be run again.
        System.setSecurityManager(new SecurityManager()
        {
            @Override
            public void checkExit(int status)
            {
                if (!done)
                    throw new Exit(status);
            }

            @Override
            public void checkPermission(Permission permission)
            {
            }
        });
        PrintStream stdout = System.out;
        for (String file : Files.readAllLines(Path.of(args[0])))
        {
            MessageDigest digest = MessageDigest.getInstance("SHA-256");
            int status = 0;
            try (PrintStream out = new PrintStream(new DigestOutputStream(OutputStream.nullOutputStream(), digest)))
            {
                System.setOut(out);
                SSTableExport.main(new String[]{ file });
            }
            catch (Exit exit)
            {
                status = exit.status;
            }
            catch (RuntimeException failure)
            {
                // As the launcher of a program does.
                status = 1;
            }
            System.setOut(stdout);
            stdout.println(status + " " + HexFormat.of().formatHex(digest.digest()));
        }
        stdout.flush();
        done = true;
        System.exit(0);
    }
}
