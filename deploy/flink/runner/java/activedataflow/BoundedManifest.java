package activedataflow;

import java.util.Collection;

import org.apache.flink.contrib.streaming.state.RocksDBOptionsFactory;
import org.rocksdb.ColumnFamilyOptions;
import org.rocksdb.DBOptions;

/**
 * Lets RocksDB begin its manifest anew when that has grown to 32 KB. The manifest is a log of every file that came and went, by itself
 * it is never begun anew while the database is open, and Flink copies all of it into each checkpoint: so without this the checkpoints
 * of a job grow with its age. Beginning anew writes the list of the files there are, which is no more than a checkpoint copies anyway.
 */
public final class BoundedManifest implements RocksDBOptionsFactory {
    private static final long serialVersionUID = 1L;

    @Override
    public DBOptions createDBOptions(DBOptions current, Collection<AutoCloseable> handlesToClose) {
        return current.setMaxManifestFileSize(32 << 10);
    }

    @Override
    public ColumnFamilyOptions createColumnOptions(ColumnFamilyOptions current, Collection<AutoCloseable> handlesToClose) {
        return current;
    }
}
