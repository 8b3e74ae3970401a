//! The names of all wait events and LWLock tranches, with PostgreSQL 15's numbers.
//!
//! C counterpart: the enums of wait_event.h, `pgstat_get_wait_*`, lwlocknames.txt, `BuiltinTrancheNames`.

use super::{Tranche, WaitEvent};

macro_rules! wait_events {
    ($($(#[$meta:meta])* $class:ident { $($name:ident = $text:literal,)* })*) => {
        #[allow(missing_docs, reason = "each constant is the event that pg_stat_activity shows by that name")]
        #[allow(dead_code, reason = "the last number of each class is only there for the next one")]
        impl WaitEvent {
            $(wait_events!(@consts super::class::$class, 0u32; $($name)*);)*
        }
        /// Class and the names of its events, in the order of their numbers.
        pub(super) const EVENTS: &[(u32, &[&str])] = &[$((super::class::$class, &[$($text),*])),*];
    };
    (@consts $class:expr, $n:expr;) => {};
    (@consts $class:expr, $n:expr; $name:ident $($rest:ident)*) => {
        pub const $name: WaitEvent = WaitEvent($class + $n);
        wait_events!(@consts $class, $n + 1u32; $($rest)*);
    };
}

wait_events! {
    // PgStatMain is ours: PostgreSQL 15 has no stats collector any more, so it comes after the others.
    ACTIVITY {
        ARCHIVER_MAIN = "ArchiverMain",
        AUTOVACUUM_MAIN = "AutoVacuumMain",
        BGWRITER_HIBERNATE = "BgWriterHibernate",
        BGWRITER_MAIN = "BgWriterMain",
        CHECKPOINTER_MAIN = "CheckpointerMain",
        LOGICAL_APPLY_MAIN = "LogicalApplyMain",
        LOGICAL_LAUNCHER_MAIN = "LogicalLauncherMain",
        RECOVERY_WAL_STREAM = "RecoveryWalStream",
        SYSLOGGER_MAIN = "SysLoggerMain",
        WAL_RECEIVER_MAIN = "WalReceiverMain",
        WAL_SENDER_MAIN = "WalSenderMain",
        WAL_WRITER_MAIN = "WalWriterMain",
        PGSTAT_MAIN = "PgStatMain",
    }
    CLIENT {
        CLIENT_READ = "ClientRead",
        CLIENT_WRITE = "ClientWrite",
        GSS_OPEN_SERVER = "GSSOpenServer",
        LIBPQWALRECEIVER_CONNECT = "LibPQWalReceiverConnect",
        LIBPQWALRECEIVER_RECEIVE = "LibPQWalReceiverReceive",
        SSL_OPEN_SERVER = "SSLOpenServer",
        WAL_SENDER_WAIT_WAL = "WalSenderWaitForWAL",
        WAL_SENDER_WRITE_DATA = "WalSenderWriteData",
    }
    IPC {
        APPEND_READY = "AppendReady",
        ARCHIVE_CLEANUP_COMMAND = "ArchiveCleanupCommand",
        ARCHIVE_COMMAND = "ArchiveCommand",
        BACKEND_TERMINATION = "BackendTermination",
        BACKUP_WAIT_WAL_ARCHIVE = "BackupWaitWalArchive",
        BGWORKER_SHUTDOWN = "BgWorkerShutdown",
        BGWORKER_STARTUP = "BgWorkerStartup",
        BTREE_PAGE = "BtreePage",
        BUFFER_IO = "BufferIO",
        CHECKPOINT_DONE = "CheckpointDone",
        CHECKPOINT_START = "CheckpointStart",
        EXECUTE_GATHER = "ExecuteGather",
        HASH_BATCH_ALLOCATE = "HashBatchAllocate",
        HASH_BATCH_ELECT = "HashBatchElect",
        HASH_BATCH_LOAD = "HashBatchLoad",
        HASH_BUILD_ALLOCATE = "HashBuildAllocate",
        HASH_BUILD_ELECT = "HashBuildElect",
        HASH_BUILD_HASH_INNER = "HashBuildHashInner",
        HASH_BUILD_HASH_OUTER = "HashBuildHashOuter",
        HASH_GROW_BATCHES_ALLOCATE = "HashGrowBatchesAllocate",
        HASH_GROW_BATCHES_DECIDE = "HashGrowBatchesDecide",
        HASH_GROW_BATCHES_ELECT = "HashGrowBatchesElect",
        HASH_GROW_BATCHES_FINISH = "HashGrowBatchesFinish",
        HASH_GROW_BATCHES_REPARTITION = "HashGrowBatchesRepartition",
        HASH_GROW_BUCKETS_ALLOCATE = "HashGrowBucketsAllocate",
        HASH_GROW_BUCKETS_ELECT = "HashGrowBucketsElect",
        HASH_GROW_BUCKETS_REINSERT = "HashGrowBucketsReinsert",
        LOGICAL_SYNC_DATA = "LogicalSyncData",
        LOGICAL_SYNC_STATE_CHANGE = "LogicalSyncStateChange",
        MQ_INTERNAL = "MessageQueueInternal",
        MQ_PUT_MESSAGE = "MessageQueuePutMessage",
        MQ_RECEIVE = "MessageQueueReceive",
        MQ_SEND = "MessageQueueSend",
        PARALLEL_BITMAP_SCAN = "ParallelBitmapScan",
        PARALLEL_CREATE_INDEX_SCAN = "ParallelCreateIndexScan",
        PARALLEL_FINISH = "ParallelFinish",
        PROCARRAY_GROUP_UPDATE = "ProcArrayGroupUpdate",
        PROC_SIGNAL_BARRIER = "ProcSignalBarrier",
        PROMOTE = "Promote",
        RECOVERY_CONFLICT_SNAPSHOT = "RecoveryConflictSnapshot",
        RECOVERY_CONFLICT_TABLESPACE = "RecoveryConflictTablespace",
        RECOVERY_END_COMMAND = "RecoveryEndCommand",
        RECOVERY_PAUSE = "RecoveryPause",
        REPLICATION_ORIGIN_DROP = "ReplicationOriginDrop",
        REPLICATION_SLOT_DROP = "ReplicationSlotDrop",
        RESTORE_COMMAND = "RestoreCommand",
        SAFE_SNAPSHOT = "SafeSnapshot",
        SYNC_REP = "SyncRep",
        WAL_RECEIVER_EXIT = "WalReceiverExit",
        WAL_RECEIVER_WAIT_START = "WalReceiverWaitStart",
        XACT_GROUP_UPDATE = "XactGroupUpdate",
        WAL_RECEIVER_UPSTREAM_CATCHUP = "WalReceiverUpstreamCatchup",
    }
    TIMEOUT {
        BASE_BACKUP_THROTTLE = "BaseBackupThrottle",
        CHECKPOINT_WRITE_DELAY = "CheckpointWriteDelay",
        PG_SLEEP = "PgSleep",
        RECOVERY_APPLY_DELAY = "RecoveryApplyDelay",
        RECOVERY_RETRIEVE_RETRY_INTERVAL = "RecoveryRetrieveRetryInterval",
        REGISTER_SYNC_REQUEST = "RegisterSyncRequest",
        VACUUM_DELAY = "VacuumDelay",
        VACUUM_TRUNCATE = "VacuumTruncate",
    }
    IO {
        BASEBACKUP_READ = "BaseBackupRead",
        BASEBACKUP_SYNC = "BaseBackupSync",
        BASEBACKUP_WRITE = "BaseBackupWrite",
        BUFFILE_READ = "BufFileRead",
        BUFFILE_WRITE = "BufFileWrite",
        BUFFILE_TRUNCATE = "BufFileTruncate",
        CONTROL_FILE_READ = "ControlFileRead",
        CONTROL_FILE_SYNC = "ControlFileSync",
        CONTROL_FILE_SYNC_UPDATE = "ControlFileSyncUpdate",
        CONTROL_FILE_WRITE = "ControlFileWrite",
        CONTROL_FILE_WRITE_UPDATE = "ControlFileWriteUpdate",
        COPY_FILE_READ = "CopyFileRead",
        COPY_FILE_WRITE = "CopyFileWrite",
        DATA_FILE_EXTEND = "DataFileExtend",
        DATA_FILE_FLUSH = "DataFileFlush",
        DATA_FILE_IMMEDIATE_SYNC = "DataFileImmediateSync",
        DATA_FILE_PREFETCH = "DataFilePrefetch",
        DATA_FILE_READ = "DataFileRead",
        DATA_FILE_SYNC = "DataFileSync",
        DATA_FILE_TRUNCATE = "DataFileTruncate",
        DATA_FILE_WRITE = "DataFileWrite",
        DSM_FILL_ZERO_WRITE = "DSMFillZeroWrite",
        LOCK_FILE_ADDTODATADIR_READ = "LockFileAddToDataDirRead",
        LOCK_FILE_ADDTODATADIR_SYNC = "LockFileAddToDataDirSync",
        LOCK_FILE_ADDTODATADIR_WRITE = "LockFileAddToDataDirWrite",
        LOCK_FILE_CREATE_READ = "LockFileCreateRead",
        LOCK_FILE_CREATE_SYNC = "LockFileCreateSync",
        LOCK_FILE_CREATE_WRITE = "LockFileCreateWrite",
        LOCK_FILE_RECHECKDATADIR_READ = "LockFileReCheckDataDirRead",
        LOGICAL_REWRITE_CHECKPOINT_SYNC = "LogicalRewriteCheckpointSync",
        LOGICAL_REWRITE_MAPPING_SYNC = "LogicalRewriteMappingSync",
        LOGICAL_REWRITE_MAPPING_WRITE = "LogicalRewriteMappingWrite",
        LOGICAL_REWRITE_SYNC = "LogicalRewriteSync",
        LOGICAL_REWRITE_TRUNCATE = "LogicalRewriteTruncate",
        LOGICAL_REWRITE_WRITE = "LogicalRewriteWrite",
        RELATION_MAP_READ = "RelationMapRead",
        RELATION_MAP_SYNC = "RelationMapSync",
        RELATION_MAP_WRITE = "RelationMapWrite",
        REORDER_BUFFER_READ = "ReorderBufferRead",
        REORDER_BUFFER_WRITE = "ReorderBufferWrite",
        REORDER_LOGICAL_MAPPING_READ = "ReorderLogicalMappingRead",
        REPLICATION_SLOT_READ = "ReplicationSlotRead",
        REPLICATION_SLOT_RESTORE_SYNC = "ReplicationSlotRestoreSync",
        REPLICATION_SLOT_SYNC = "ReplicationSlotSync",
        REPLICATION_SLOT_WRITE = "ReplicationSlotWrite",
        SLRU_FLUSH_SYNC = "SLRUFlushSync",
        SLRU_READ = "SLRURead",
        SLRU_SYNC = "SLRUSync",
        SLRU_WRITE = "SLRUWrite",
        SNAPBUILD_READ = "SnapbuildRead",
        SNAPBUILD_SYNC = "SnapbuildSync",
        SNAPBUILD_WRITE = "SnapbuildWrite",
        TIMELINE_HISTORY_FILE_SYNC = "TimelineHistoryFileSync",
        TIMELINE_HISTORY_FILE_WRITE = "TimelineHistoryFileWrite",
        TIMELINE_HISTORY_READ = "TimelineHistoryRead",
        TIMELINE_HISTORY_SYNC = "TimelineHistorySync",
        TIMELINE_HISTORY_WRITE = "TimelineHistoryWrite",
        TWOPHASE_FILE_READ = "TwophaseFileRead",
        TWOPHASE_FILE_SYNC = "TwophaseFileSync",
        TWOPHASE_FILE_WRITE = "TwophaseFileWrite",
        VERSION_FILE_WRITE = "VersionFileWrite",
        WALSENDER_TIMELINE_HISTORY_READ = "WALSenderTimelineHistoryRead",
        WAL_BOOTSTRAP_SYNC = "WALBootstrapSync",
        WAL_BOOTSTRAP_WRITE = "WALBootstrapWrite",
        WAL_COPY_READ = "WALCopyRead",
        WAL_COPY_SYNC = "WALCopySync",
        WAL_COPY_WRITE = "WALCopyWrite",
        WAL_INIT_SYNC = "WALInitSync",
        WAL_INIT_WRITE = "WALInitWrite",
        WAL_READ = "WALRead",
        WAL_SYNC = "WALSync",
        WAL_SYNC_METHOD_ASSIGN = "WALSyncMethodAssign",
        WAL_WRITE = "WALWrite",
        VERSION_FILE_SYNC = "VersionFileSync",
    }
}

macro_rules! tranches {
    ($($name:ident = $id:literal, $text:literal;)*) => {
        /// PostgreSQL's LWLock tranches: what a wait for a lock is called.
        #[allow(missing_docs, reason = "each constant is the tranche that pg_stat_activity shows by that name")]
        pub mod tranche {
            use super::Tranche;
            $(pub const $name: Tranche = Tranche($id);)*
        }
        pub(super) const TRANCHES: &[(u32, &str)] = &[$(($id, $text)),*];
    };
}

tranches! {
    SHMEM_INDEX = 1, "ShmemIndex";
    OID_GEN = 2, "OidGen";
    XID_GEN = 3, "XidGen";
    PROC_ARRAY = 4, "ProcArray";
    SINVAL_READ = 5, "SInvalRead";
    SINVAL_WRITE = 6, "SInvalWrite";
    WAL_BUF_MAPPING = 7, "WALBufMapping";
    WAL_WRITE = 8, "WALWrite";
    CONTROL_FILE = 9, "ControlFile";
    XACT_SLRU = 11, "XactSLRU";
    SUBTRANS_SLRU = 12, "SubtransSLRU";
    MULTI_XACT_GEN = 13, "MultiXactGen";
    MULTI_XACT_OFFSET_SLRU = 14, "MultiXactOffsetSLRU";
    MULTI_XACT_MEMBER_SLRU = 15, "MultiXactMemberSLRU";
    REL_CACHE_INIT = 16, "RelCacheInit";
    CHECKPOINTER_COMM = 17, "CheckpointerComm";
    TWO_PHASE_STATE = 18, "TwoPhaseState";
    TABLESPACE_CREATE = 19, "TablespaceCreate";
    BTREE_VACUUM = 20, "BtreeVacuum";
    ADDIN_SHMEM_INIT = 21, "AddinShmemInit";
    AUTOVACUUM = 22, "Autovacuum";
    AUTOVACUUM_SCHEDULE = 23, "AutovacuumSchedule";
    SYNC_SCAN = 24, "SyncScan";
    RELATION_MAPPING = 25, "RelationMapping";
    NOTIFY_SLRU = 26, "NotifySLRU";
    NOTIFY_QUEUE = 27, "NotifyQueue";
    SERIALIZABLE_XACT_HASH = 28, "SerializableXactHash";
    SERIALIZABLE_FINISHED_LIST = 29, "SerializableFinishedList";
    SERIALIZABLE_PREDICATE_LIST = 30, "SerializablePredicateList";
    SERIAL_SLRU = 31, "SerialSLRU";
    SYNC_REP = 32, "SyncRep";
    BACKGROUND_WORKER = 33, "BackgroundWorker";
    DYNAMIC_SHARED_MEMORY_CONTROL = 34, "DynamicSharedMemoryControl";
    AUTO_FILE = 35, "AutoFile";
    REPLICATION_SLOT_ALLOCATION = 36, "ReplicationSlotAllocation";
    REPLICATION_SLOT_CONTROL = 37, "ReplicationSlotControl";
    COMMIT_TS_SLRU = 38, "CommitTsSLRU";
    COMMIT_TS = 39, "CommitTs";
    REPLICATION_ORIGIN = 40, "ReplicationOrigin";
    MULTI_XACT_TRUNCATION = 41, "MultiXactTruncation";
    OLD_SNAPSHOT_TIME_MAP = 42, "OldSnapshotTimeMap";
    LOGICAL_REP_WORKER = 43, "LogicalRepWorker";
    XACT_TRUNCATION = 44, "XactTruncation";
    WRAP_LIMITS_VACUUM = 46, "WrapLimitsVacuum";
    NOTIFY_QUEUE_TAIL = 47, "NotifyQueueTail";
    XACT_BUFFER = 48, "XactBuffer";
    COMMITTS_BUFFER = 49, "CommitTsBuffer";
    SUBTRANS_BUFFER = 50, "SubtransBuffer";
    MULTIXACTOFFSET_BUFFER = 51, "MultiXactOffsetBuffer";
    MULTIXACTMEMBER_BUFFER = 52, "MultiXactMemberBuffer";
    NOTIFY_BUFFER = 53, "NotifyBuffer";
    SERIAL_BUFFER = 54, "SerialBuffer";
    WAL_INSERT = 55, "WALInsert";
    BUFFER_CONTENT = 56, "BufferContent";
    REPLICATION_ORIGIN_STATE = 57, "ReplicationOriginState";
    REPLICATION_SLOT_IO = 58, "ReplicationSlotIO";
    LOCK_FASTPATH = 59, "LockFastPath";
    BUFFER_MAPPING = 60, "BufferMapping";
    LOCK_MANAGER = 61, "LockManager";
    PREDICATE_LOCK_MANAGER = 62, "PredicateLockManager";
    PARALLEL_HASH_JOIN = 63, "ParallelHashJoin";
    PARALLEL_QUERY_DSA = 64, "ParallelQueryDSA";
    PER_SESSION_DSA = 65, "PerSessionDSA";
    PER_SESSION_RECORD_TYPE = 66, "PerSessionRecordType";
    PER_SESSION_RECORD_TYPMOD = 67, "PerSessionRecordTypmod";
    SHARED_TUPLESTORE = 68, "SharedTupleStore";
    SHARED_TIDBITMAP = 69, "SharedTidBitmap";
    PARALLEL_APPEND = 70, "ParallelAppend";
    PER_XACT_PREDICATE_LIST = 71, "PerXactPredicateList";
    PGSTATS_DSA = 72, "PgStatsDSA";
    PGSTATS_HASH = 73, "PgStatsHash";
    PGSTATS_DATA = 74, "PgStatsData";
}
