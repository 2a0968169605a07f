package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/activedataflow/adf"
)

func (c *command) validateCommand() *cobra.Command {
	f := &flowFlags{}
	cmd := &cobra.Command{
		Use:   "validate",
		Short: "Check flows without running them",
		Long: `Check flows without running them. Everything that is wrong is told at once, each with its place.

A source with "schema: infer" is looked at, as it is for a run.`,
	}
	c.takesFlow(cmd)
	cmd.Use += "..."
	least := 1
	if c.Build != nil {
		least = 0
	}
	cmd.Args = func(cmd *cobra.Command, args []string) error { return count(cmd, args, least, max(1, len(args))) }
	cmd.RunE = func(cmd *cobra.Command, files []string) error {
		if len(files) == 0 {
			files = []string{""}
		}
		type valid struct {
			File   string `json:"file,omitempty"`
			Flow   string `json:"flow"`
			Nodes  int    `json:"nodes"`
			Digest string `json:"digest"`
		}
		var all []valid
		var wrong []error
		for _, file := range files {
			g, err := c.graph(cmd.Context(), file, f)
			if err != nil {
				wrong = append(wrong, err)
				continue
			}
			all = append(all, valid{file, g.Plan.Flow(), len(g.Nodes), g.Plan.Digest()})
		}
		if len(wrong) > 0 {
			return errors.Join(wrong...)
		}
		if c.json {
			return c.answer(map[string]any{"valid": all})
		}
		for _, v := range all {
			if v.File != "" {
				fmt.Fprintf(c.stdout, "%s: ", v.File)
			}
			fmt.Fprintf(c.stdout, "%s is valid: %s\n", v.Flow, counted(v.Nodes, "node"))
		}
		return nil
	}
	f.add(cmd)
	return cmd
}

func (c *command) explainCommand() *cobra.Command {
	f := &flowFlags{}
	cmd := &cobra.Command{
		Use:   "explain",
		Short: "Tell how a flow will run, with schemas and guarantees",
		Long:  "Tell how a flow will run: its nodes with their schemas, and for every path from a source to a sink the guarantee, and why.",
	}
	c.takesFlow(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		g, err := c.graph(cmd.Context(), first(args), f)
		if err != nil {
			return err
		}
		if c.json {
			return c.answer(g.Explain())
		}
		fmt.Fprint(c.stdout, g.Explain())
		return nil
	}
	f.add(cmd)
	return cmd
}

func (c *command) schemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of flow files, for editors",
		Long:  "Print the JSON Schema (2020-12) of flow files, with the options of all connectors of this program. Editors check and complete with it.",
		Args:  func(cmd *cobra.Command, args []string) error { return count(cmd, args, 0, 0) },
		RunE:  func(*cobra.Command, []string) error { return c.answer(adf.JSONSchema(c.registry)) },
	}
}
