package flinkcli

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/activedataflow/adf/cli"
	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/flinkbridge/cluster"
	"github.com/activedataflow/adf/flinkbridge/rest"
)

// The environment variables of flags that every command has.
const (
	addressEnv = "ADF_FLINK"
	folderEnv  = "ADF_FLINK_DIR"
)

const defaultAddress = "http://127.0.0.1:8081"

// connection says where the cluster is and how it is spoken with.
type connection struct {
	address, ca, cert, key string
	headers                []string
}

func (c *connection) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&c.address, "flink", "", "the `URL` of Flink's REST server; default: $"+addressEnv+", else the cluster of flink up, else "+defaultAddress)
	flags.StringVar(&c.ca, "flink-ca", "", "trust the certificates in `FILE` (PEM), instead of the system's")
	flags.StringVar(&c.cert, "flink-cert", "", "show the certificate in `FILE` (PEM)")
	flags.StringVar(&c.key, "flink-key", "", "the key of --flink-cert, a `FILE` (PEM)")
	flags.StringArrayVar(&c.headers, "flink-header", nil, "send a header with every request: `NAME: VALUE`, or @FILE with one a line, for secrets; once for each")
	for _, name := range []string{"flink-ca", "flink-cert", "flink-key"} {
		_ = cmd.MarkFlagFilename(name)
	}
}

// client speaks with the cluster; local is the one of this machine when it is that one, else nil.
func (c *connection) client() (client *rest.Client, local *cluster.Cluster, err error) {
	address := cmp.Or(c.address, os.Getenv(addressEnv))
	dir, err := folder("")
	if err != nil {
		return nil, nil, err
	}
	if local, _ = cluster.Open(dir); local != nil && address != "" && strings.TrimRight(address, "/") != local.Address() {
		local = nil
	}
	if local != nil {
		address = local.Address()
	}
	headers, err := c.header()
	if err != nil {
		return nil, nil, err
	}
	client, err = rest.New(rest.Config{Address: cmp.Or(address, defaultAddress), CA: c.ca, Cert: c.cert, Key: c.key, Headers: headers})
	var wrong *fault.ConfigurationError
	if errors.As(err, &wrong) {
		for i, v := range wrong.Violations {
			wrong.Violations[i].Path = flagOf[v.Path]
		}
	}
	return client, local, err
}

// flagOf are the flags of the options of a client.
var flagOf = map[string]string{"address": "--flink", "ca": "--flink-ca", "cert": "--flink-cert", "headers": "--flink-header"}

// header has the headers, those of files, too.
func (c *connection) header() (map[string]string, error) {
	all := map[string]string{}
	for _, h := range c.headers {
		lines := []string{h}
		if file, ok := strings.CutPrefix(h, "@"); ok {
			data, err := os.ReadFile(file)
			if err != nil {
				return nil, cli.Misuse("--flink-header", err.Error(), "a file with headers, one a line", "")
			}
			lines = nil
			for s := bufio.NewScanner(bytes.NewReader(data)); s.Scan(); {
				if line := strings.TrimSpace(s.Text()); line != "" {
					lines = append(lines, line)
				}
			}
		}
		for _, line := range lines {
			name, value, ok := strings.Cut(line, ":")
			if !ok { // what it is may be secret
				return nil, cli.Misuse("--flink-header", "a header without a colon", "NAME: VALUE, or @FILE", "")
			}
			all[strings.TrimSpace(name)] = strings.TrimSpace(value)
		}
	}
	return all, nil
}

// folder is the one of the cluster on this machine.
func folder(given string) (string, error) {
	if dir := cmp.Or(given, os.Getenv(folderEnv)); dir != "" {
		return dir, nil
	}
	return cluster.DefaultDir()
}

func addFolder(cmd *cobra.Command, dir *string) {
	cmd.Flags().StringVar(dir, "dir", "", "the cluster's folder, `DIR`; default: $"+folderEnv+", else flink/cluster in the cache ($"+cluster.CacheEnv+")")
	_ = cmd.MarkFlagDirname("dir")
}

// pairs reads flags that are NAME=VALUE.
func pairs(flag string, list []string) (map[string]string, error) {
	all := map[string]string{}
	for _, x := range list {
		name, value, ok := strings.Cut(x, "=")
		if !ok || name == "" {
			return nil, cli.Misuse(flag, fmt.Sprintf("%q", x), "NAME=VALUE", "")
		}
		all[name] = value
	}
	return all, nil
}
