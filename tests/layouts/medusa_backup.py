"""Backs up the snapshots of one host with cassandra-medusa's own code and its local storage.

Usage: medusa_backup.py STORAGE DATA HOST BACKUP full|differential SCHEMA. Only what Medusa would ask of a running node is made up: the snapshot, which
lies in DATA already, the schema, and the tokens.
"""
import json
import pathlib
import sys

from medusa import backup_node
from medusa.cassandra_utils import Cassandra
from medusa.config import StorageConfig
from medusa.index import add_backup_finish_to_index, add_backup_start_to_index, set_latest_backup_in_index
from medusa.storage import Storage

storage_dir, data, host, backup, mode, schema = sys.argv[1:]
fields = dict.fromkeys(StorageConfig._fields)
fields.update(
    bucket_name=pathlib.Path(storage_dir).name,
    base_path=str(pathlib.Path(storage_dir).parent),
    storage_provider="local",
    fqdn=host,
    prefix="",
    concurrent_transfers="1",
    multi_part_upload_threshold=100 * 1024 * 1024,
    k8s_mode=None,
)


class Node:
    root = pathlib.Path(data)


with Storage(config=StorageConfig(**fields)) as storage:
    node_backup = storage.get_node_backup(fqdn=host, name=backup, differential_mode=mode == "differential")
    node_backup.schema = pathlib.Path(schema).read_text()
    node_backup.tokenmap = json.dumps({host: {"tokens": [-1, 7], "is_up": True, "rack": "r1", "dc": "dc1"}})
    node_backup.server_version = json.dumps({"server_type": "cassandra", "release_version": "5.0.6"})
    if mode == "differential":
        node_backup.differential = mode
    add_backup_start_to_index(storage, node_backup)
    manifest = []
    snapshot = Cassandra.Snapshot(Node, "medusa-" + backup, keep_snapshot=True)
    backup_node.backup_snapshots(storage, manifest, node_backup, snapshot, False, 1)
    node_backup.manifest = json.dumps(manifest)
    add_backup_finish_to_index(storage, node_backup)
    set_latest_backup_in_index(storage, node_backup)
