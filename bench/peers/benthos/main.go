// Command benthos runs Benthos core on the configuration file it is given, until its input ends: the peer that bench/run measures the same
// work against.
package main

import (
	"context"
	"fmt"
	"os"

	_ "github.com/redpanda-data/benthos/v4/public/components/io"
	_ "github.com/redpanda-data/benthos/v4/public/components/pure"
	"github.com/redpanda-data/benthos/v4/public/service"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) != 2 {
		return fmt.Errorf("got %d arguments, want the configuration file", len(os.Args)-1)
	}
	config, err := os.ReadFile(os.Args[1])
	if err != nil {
		return err
	}
	b := service.NewStreamBuilder()
	if err := b.SetYAML(os.ExpandEnv(string(config))); err != nil {
		return err
	}
	s, err := b.Build()
	if err != nil {
		return err
	}
	return s.Run(context.Background())
}
