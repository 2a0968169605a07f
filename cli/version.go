package cli

import (
	"bytes"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/fault"
)

func (c *command) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  func(cmd *cobra.Command, args []string) error { return count(cmd, args, 0, 0) },
		RunE: func(*cobra.Command, []string) error {
			v := struct {
				Version  string `json:"version"`
				Revision string `json:"revision,omitempty"`
				Go       string `json:"go"`
				Platform string `json:"platform"`
			}{adf.Version, revision(), runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
			if c.json {
				return c.answer(v)
			}
			fmt.Fprintf(c.stdout, "ActiveDataFlow %s", v.Version)
			if v.Revision != "" {
				fmt.Fprintf(c.stdout, " (%s)", v.Revision)
			}
			fmt.Fprintf(c.stdout, ", %s, %s\n", v.Go, v.Platform)
			return nil
		},
	}
}

// revision is that of the sources the program was built from, when it is known.
func revision() string {
	info, _ := debug.ReadBuildInfo()
	if info == nil {
		return ""
	}
	text, changed := "", false
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			text = s.Value[:min(12, len(s.Value))]
		case "vcs.modified":
			changed = s.Value == "true"
		}
	}
	if changed {
		text += " and changes"
	}
	return text
}

func (c *command) completionCommand() *cobra.Command {
	shells := []string{"bash", "zsh", "fish", "powershell"}
	return &cobra.Command{
		Use:   "completion bash|zsh|fish|powershell",
		Short: "Print the script that completes commands in a shell",
		Long: fmt.Sprintf(`Print the script that completes commands, flags, files and nodes in a shell:

  bash        source <(%[1]s completion bash)
  zsh         source <(%[1]s completion zsh)
  fish        %[1]s completion fish | source
  powershell  %[1]s completion powershell | Out-String | Invoke-Expression`, c.Name),
		Args:      func(cmd *cobra.Command, args []string) error { return count(cmd, args, 1, 1) },
		ValidArgs: shells,
		RunE: func(cmd *cobra.Command, args []string) error {
			var script bytes.Buffer
			root, err := cmd.Root(), error(nil)
			switch args[0] {
			case "bash":
				err = root.GenBashCompletionV2(&script, true)
			case "zsh":
				err = root.GenZshCompletion(&script)
			case "fish":
				err = root.GenFishCompletion(&script, true)
			case "powershell":
				err = root.GenPowerShellCompletionWithDesc(&script)
			default:
				return fault.Config(misuse(cmd.CommandPath(), fmt.Sprintf("the unknown shell %q", args[0]), "one of "+strings.Join(shells, ", "), fault.DidYouMean(args[0], shells)))
			}
			if err != nil {
				return err
			}
			if c.json {
				return c.answer(map[string]string{"shell": args[0], "script": script.String()})
			}
			_, err = c.stdout.Write(script.Bytes())
			return err
		},
	}
}
