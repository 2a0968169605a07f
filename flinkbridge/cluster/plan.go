package cluster

import (
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// layout is what is started and with which configuration, before anything is.
type layout struct {
	rest, pool string // HOST:PORT
	files      map[string]string
	processes  []Process
}

const host = "127.0.0.1"

// Memory in MiB: what a JVM needs besides heap and what Flink accounts for.
const (
	jobManagerMetaspace  = 192 // every submitted job loads its runner once more
	jobManagerOverhead   = 128
	taskManagerMetaspace = 512 // every job loads the runner, 25 MB, and its idle threads hold that for a minute after its end
	taskManagerOverhead  = 192
	frameworkHeap        = 128
	offHeap              = 64
	frameworkOffHeap     = 128
	network              = 128
)

// The memory of a JobManager and a TaskManager, in MiB, when nothing is said, and the least that they can have.
const (
	DefaultJobManager  = 640
	DefaultTaskManager = 1792

	LeastJobManager  = jobManagerMetaspace + jobManagerOverhead + 192
	LeastTaskManager = taskManagerMetaspace + taskManagerOverhead + offHeap + frameworkOffHeap + network + frameworkHeap + 256
)

// open are the parts of the JDK that Flink reaches into, as its own start scripts have them.
var open = []string{
	"--add-exports=java.rmi/sun.rmi.registry=ALL-UNNAMED", "--add-exports=java.base/sun.net.util=ALL-UNNAMED",
	"--add-exports=java.security.jgss/sun.security.krb5=ALL-UNNAMED",
	"--add-opens=java.base/java.lang=ALL-UNNAMED", "--add-opens=java.base/java.net=ALL-UNNAMED", "--add-opens=java.base/java.io=ALL-UNNAMED",
	"--add-opens=java.base/java.nio=ALL-UNNAMED", "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED", "--add-opens=java.base/java.lang.reflect=ALL-UNNAMED",
	"--add-opens=java.base/java.text=ALL-UNNAMED", "--add-opens=java.base/java.time=ALL-UNNAMED", "--add-opens=java.base/java.util=ALL-UNNAMED",
	"--add-opens=java.base/java.util.concurrent=ALL-UNNAMED", "--add-opens=java.base/java.util.concurrent.atomic=ALL-UNNAMED",
	"--add-opens=java.base/java.util.concurrent.locks=ALL-UNNAMED",
}

func plan(o Options, lib, java string) (layout, error) {
	var ports [4]int
	for i := range ports {
		p, err := freePort()
		if err != nil {
			return layout{}, failed("flink.cluster.port", "find a free port", err, "")
		}
		ports[i] = p
	}
	rest, rpc, zookeeper, pool := ports[0], ports[1], ports[2], ports[3]
	if o.Port != 0 {
		l, err := net.Listen("tcp", at(o.Port))
		if err != nil {
			return layout{}, failed("flink.cluster.port", "start a cluster", err, "end what listens there, or give another port by --port; 0 takes a free one")
		}
		l.Close()
		rest = o.Port
	}
	url := func(dir string) string { return "file://" + filepath.ToSlash(filepath.Join(o.Dir, dir)) }
	config := map[string]string{
		"jobmanager.bind-host": host, "jobmanager.rpc.address": host, "jobmanager.rpc.port": strconv.Itoa(rpc),
		"taskmanager.bind-host": host, "taskmanager.host": host,
		"rest.address": host, "rest.bind-address": host, "rest.port": strconv.Itoa(rest), "rest.bind-port": strconv.Itoa(rest),
		"taskmanager.numberOfTaskSlots": strconv.Itoa(o.Slots),
		"parallelism.default":           "1",
		"web.upload.dir":                filepath.Join(o.Dir, "upload"),
		"blob.storage.directory":        filepath.Join(o.Dir, "tmp", "blob"),
		"io.tmp.dirs":                   filepath.Join(o.Dir, "tmp"),
		"state.backend.type":            "rocksdb", "state.backend.incremental": "true",
		"state.checkpoints.dir": url("checkpoints"), "state.savepoints.dir": url("savepoints"), "state.checkpoints.num-retained": "3",
		"restart-strategy.type": "fixed-delay", "restart-strategy.fixed-delay.attempts": "2147483647", "restart-strategy.fixed-delay.delay": "1 s",
		// What has died is noticed soon; what is only slow on a busy machine is left alone.
		"heartbeat.interval": "2000", "heartbeat.timeout": "20000",
		// A shuffle of a batch job takes so many network buffers at least. With Flink's 512, two jobs side by side want more than there are.
		"taskmanager.network.sort-shuffle.min-buffers": "64",
		"metrics.fetcher.update-interval":              "1000",
		"web.refresh-interval":                         "1000",
		"classloader.check-leaked-classloader":         "false",
	}
	heap := o.TaskManagerMemory - taskManagerMetaspace - taskManagerOverhead - offHeap - frameworkOffHeap - network
	managed := heap * 3 / 10 // RocksDB's
	heap -= managed
	for key, mb := range map[string]int{
		"framework.heap.size": frameworkHeap, "task.heap.size": heap - frameworkHeap, "framework.off-heap.size": frameworkOffHeap, "task.off-heap.size": offHeap,
		"network.min": network, "network.max": network, "managed.size": managed, "jvm-metaspace.size": taskManagerMetaspace,
		"jvm-overhead.min": taskManagerOverhead, "jvm-overhead.max": taskManagerOverhead,
	} {
		config["taskmanager.memory."+key] = megabytes(mb)
	}
	config["taskmanager.cpu.cores"] = strconv.Itoa(o.Slots)
	// RocksDB reserves an eighth of a write buffer for each state that is written to. With Flink's 64 MB for each, a slot of this size has room for two or three states,
	// and everything is flushed all the time: its manifest, which is part of each checkpoint, grows with every flush.
	config["state.backend.rocksdb.writebuffer.size"] = megabytes(min(64, max(4, managed/o.Slots/14)))
	p := layout{rest: at(rest), files: map[string]string{"conf/log4j.properties": logging}}
	conf := filepath.Join(o.Dir, "conf")
	jvm := func(name string, memory []string, main string, args ...string) Process {
		log := filepath.Join(o.Dir, "log", name+".log")
		command := append([]string{java}, memory...)
		command = append(command, open...)
		command = append(command, "-Djava.net.preferIPv4Stack=true", "-XX:-UsePerfData", "-Dlog.file="+log, "-Dlog4j.configurationFile=file:"+filepath.Join(conf, "log4j.properties"),
			"-cp", filepath.Join(lib, "*"), main)
		return Process{Name: name, Log: log, Command: append(command, args...)}
	}
	if o.HighAvailability {
		maps.Copy(config, map[string]string{
			"high-availability.type": "zookeeper", "high-availability.zookeeper.quorum": at(zookeeper), "high-availability.storageDir": url("ha"),
			"high-availability.cluster-id": "adf", "high-availability.zookeeper.client.session-timeout": "6000",
			"high-availability.jobmanager.port": strconv.Itoa(rpc),
		})
		p.files["conf/zoo.cfg"] = fmt.Sprintf("tickTime=500\nmaxSessionTimeout=20000\ndataDir=%s\nclientPort=%d\nclientPortAddress=%s\nadmin.enableServer=false\n",
			filepath.Join(o.Dir, "zookeeper"), zookeeper, host)
		p.files["zookeeper/myid"] = "1\n"
		p.processes = append(p.processes, jvm(ZooKeeper, []string{"-Xms16m", "-Xmx64m", "-XX:+UseSerialGC"},
			"org.apache.flink.runtime.zookeeper.FlinkZooKeeperQuorumPeer", "--zkConfigFile", filepath.Join(conf, "zoo.cfg"), "--peerId", "1"))
	}
	if o.Pool != nil {
		p.pool = at(pool)
		p.processes = append(p.processes, Process{Name: Pool, Log: filepath.Join(o.Dir, "log", Pool+".log"), Command: o.Pool(p.pool)})
	}
	maps.Copy(config, o.Config)
	p.files["conf/config.yaml"] = yaml(config)
	jobHeap := o.JobManagerMemory - jobManagerMetaspace - jobManagerOverhead
	p.processes = append(p.processes, jvm(JobManager,
		// Its heap has its size from the beginning: one that may grow does so for many jobs, and looks like a leak.
		[]string{"-Xms" + megabytes(jobHeap), "-Xmx" + megabytes(jobHeap), "-XX:MaxMetaspaceSize=" + megabytes(jobManagerMetaspace), "-XX:+UseSerialGC"},
		"org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint", "--configDir", conf, "--executionMode", "cluster"))
	for i := range o.TaskManagers {
		p.processes = append(p.processes, jvm(TaskManager(i+1), []string{
			"-Xms128m", "-Xmx" + megabytes(heap), "-XX:MaxDirectMemorySize=" + megabytes(frameworkOffHeap+offHeap+network),
			"-XX:MaxMetaspaceSize=" + megabytes(taskManagerMetaspace), "-XX:+UseG1GC",
		}, "org.apache.flink.runtime.taskexecutor.TaskManagerRunner", "--configDir", conf, "-D", "taskmanager.resource-id="+TaskManager(i+1), "-D", "taskmanager.rpc.port="+portOf))
	}
	return p, nil
}

func at(port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }

func megabytes(n int) string { return strconv.Itoa(n) + "m" }

// write makes the folders and files.
func (p layout) write(dir string) error {
	for _, sub := range []string{"conf", "log", "tmp", "upload", "checkpoints", "savepoints"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return err
		}
	}
	for name, content := range p.files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// logging bounds what is kept: three files of 20 MB for each process.
var logging = strings.TrimLeft(`
rootLogger.level = INFO
rootLogger.appenderRef.file.ref = file
appender.file.name = file
appender.file.type = RollingFile
appender.file.fileName = ${sys:log.file}
appender.file.filePattern = ${sys:log.file}.%i
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d{yyyy-MM-dd HH:mm:ss,SSS} %-5p %-60c %x - %m%n
appender.file.policies.type = Policies
appender.file.policies.size.type = SizeBasedTriggeringPolicy
appender.file.policies.size.size = 20MB
appender.file.strategy.type = DefaultRolloverStrategy
appender.file.strategy.max = 2
logger.netty.name = org.jboss.netty.channel.DefaultChannelPipeline
logger.netty.level = OFF
`, "\n")
