// Package flinkcli has the commands that work with Flink: a program links them by cli.App's Commands.
//
//	cli.App{…, Commands: []cli.Commands{flinkcli.Commands}}.Main()
//
// It imports cli, the packages of the bridge, and the root package.
package flinkcli
