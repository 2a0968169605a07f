package cli

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/activedataflow/adf/engine/checkpoint"
	"github.com/activedataflow/adf/engine/checkpoint/checkpointrpc"
	"github.com/activedataflow/adf/fault"
)

// storeFlags say where checkpoints are kept.
type storeFlags struct {
	dir, service, ca string
	tls              bool
}

// checkpointsEnv is where --checkpoints is looked for when it is not given.
const checkpointsEnv = "ADF_CHECKPOINTS"

func (f *storeFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.dir, "checkpoints", "", "keep checkpoints in `DIR`, so that the next run goes on from there; default: $"+checkpointsEnv+", else in memory")
	flags.StringVar(&f.service, "checkpoint-service", "", "keep checkpoints at the gRPC service at `HOST:PORT`")
	flags.BoolVar(&f.tls, "checkpoint-tls", false, "speak TLS with the service, also on this machine; with others always")
	flags.StringVar(&f.ca, "checkpoint-ca", "", "trust the certificates in `FILE` (PEM) for the service, instead of the system's; TLS then")
	_ = cmd.MarkFlagDirname("checkpoints")
	_ = cmd.MarkFlagFilename("checkpoint-ca")
}

// openStore is a store, nil for one in memory, and how it is closed.
type openStore struct {
	checkpoint.Store
	close func() error
}

func (f *storeFlags) open() (openStore, error) {
	nothing := func() error { return nil }
	switch {
	case f.dir != "" && f.service != "":
		return openStore{}, fault.Config(misuse("--checkpoint-service", "it beside --checkpoints", "one of the two", ""))
	case f.service == "" && (f.tls || f.ca != ""):
		return openStore{}, fault.Config(misuse("--checkpoint-service", "nothing, beside --checkpoint-tls or --checkpoint-ca", "the address of the service", ""))
	case f.service != "":
		return f.dial()
	}
	dir := f.dir
	if dir == "" {
		dir = os.Getenv(checkpointsEnv)
	}
	if dir == "" {
		return openStore{close: nothing}, nil
	}
	d, err := checkpoint.OpenDirectory(dir)
	if err != nil {
		return openStore{}, err
	}
	return openStore{d, nothing}, nil
}

// dial makes the store of a service. Without TLS whoever is on the way reads and writes every state: that is for this machine only.
func (f *storeFlags) dial() (openStore, error) {
	creds := insecure.NewCredentials()
	if f.tls || f.ca != "" || !thisMachine(f.service) {
		config := &tls.Config{MinVersion: tls.VersionTLS12}
		if f.ca != "" {
			pem, err := os.ReadFile(f.ca)
			if err == nil {
				if config.RootCAs = x509.NewCertPool(); !config.RootCAs.AppendCertsFromPEM(pem) {
					err = errors.New("there is no certificate in it")
				}
			}
			if err != nil {
				return openStore{}, fault.Config(misuse("--checkpoint-ca", fmt.Sprintf("%q: %v", f.ca, err), "a file with certificates in PEM", ""))
			}
		}
		creds = credentials.NewTLS(config)
	}
	conn, err := grpc.NewClient(f.service, grpc.WithTransportCredentials(creds))
	if err != nil {
		return openStore{}, fault.Config(misuse("--checkpoint-service", fmt.Sprintf("%q: %v", f.service, err), "an address as HOST:PORT", ""))
	}
	return openStore{checkpointrpc.NewClient(conn), conn.Close}, nil
}

func thisMachine(address string) bool {
	if strings.HasPrefix(address, "unix:") {
		return true
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
