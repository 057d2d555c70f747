//! `/etc/backup/config.json` of the nodes, and where settings come from: flag > environment > config.
