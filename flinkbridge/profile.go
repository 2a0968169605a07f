package flinkbridge

import (
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
)

// profileEnv is the environment variable that makes a worker serve profiles of itself, as HOST:PORT; port 0 is a free one, which its log tells.
const profileEnv = "ADF_WORKER_PPROF"

// serveProfiles serves what net/http/pprof has at the address in the environment, for as long as the process lives. A worker that can not does its work without.
func serveProfiles() {
	address := os.Getenv(profileEnv)
	if address == "" {
		return
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		slog.Error("no profiles of this worker", "error", err)
		return
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	slog.Info("profiles of this worker", "at", "http://"+l.Addr().String()+"/debug/pprof/")
	go func() { _ = http.Serve(l, mux) }()
}
