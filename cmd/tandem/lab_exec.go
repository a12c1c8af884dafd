package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"tandem/lab"
)

// labExecFlags are the flags of `tandem lab exec` and `tandem lab shell` about the command to run.
type labExecFlags struct {
	shares  []string
	tty     bool
	stdin   bool
	env     []string
	workdir string
}

func newLabExecCommand() *cobra.Command {
	var f labExecFlags
	cmd := &cobra.Command{
		Use:   "exec [flags] [--] COMMAND [ARG]...",
		Short: "Run a command in the lab, with this machine's files",
		Long: "Runs COMMAND in the lab, which is started if it is not up, in the folder of the same name. Its standard streams,\n" +
			"signals and exit status pass through, and so do these environment variables:\n  " + strings.Join(lab.Passed, " ") + "\n" +
			"It sees the files of this machine as they are now, and may write to all of them, but only what it writes to\n" +
			"those given with --share comes back. Tests run in the lab by\n" +
			"  go test -exec \"tandem lab exec --\" ./...",
		Args: cobra.MinimumNArgs(1),
	}
	flags := addLabFlags(cmd)
	f.add(cmd)
	cmd.Flags().BoolVarP(&f.tty, "tty", "t", false, "give the command a terminal (default: if stdin and stdout are terminals)")
	cmd.Flags().BoolVarP(&f.stdin, "interactive", "i", true, "give the command this stdin")
	// What stands behind the command is the command's, flags too.
	cmd.Flags().SetInterspersed(false)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return f.run(cmd, flags, args)
	}
	return cmd
}

func newLabShellCommand() *cobra.Command {
	f := labExecFlags{stdin: true}
	cmd := &cobra.Command{
		Use:   "shell",
		Short: "A shell in the lab",
		Long:  "Runs $SHELL in the lab, as `tandem lab exec` does.",
		Args:  cobra.NoArgs,
	}
	flags := addLabFlags(cmd)
	f.add(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		shell := os.Getenv("SHELL")
		if shell == "" {
			shell = "/bin/sh"
		}
		return f.run(cmd, flags, []string{shell})
	}
	return cmd
}

func (f *labExecFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringArrayVar(&f.shares, "share", nil, "a `PATH` of this machine's that the command may change; may be given again")
	flags.StringArrayVarP(&f.env, "env", "e", nil, "set a `NAME=VALUE`, or pass NAME on; may be given again")
	flags.StringVarP(&f.workdir, "workdir", "w", "", "run it in the folder `DIR` (default: this one)")
}

func (f *labExecFlags) run(cmd *cobra.Command, flags *labFlags, args []string) error {
	c := lab.Command{Args: args, Dir: f.workdir, Shares: f.shares, TTY: f.tty}
	c.Stdout, c.Stderr = cmd.OutOrStdout(), cmd.ErrOrStderr()
	if f.stdin {
		c.Stdin = cmd.InOrStdin()
	}
	if tty := cmd.Flag("tty"); tty == nil || !tty.Changed {
		c.TTY = f.stdin && isTerminal(c.Stdin) && isTerminal(c.Stdout)
	}
	var err error
	if c.Env, err = labEnviron(f.env); err != nil {
		return err
	}
	s := newStatus(cmd)
	return runInLab(cmd.Context(), flags.options(s), s, c)
}

// labEnviron is the environment of a command in the lab: what is passed on, and then what was asked for.
func labEnviron(extra []string) ([]string, error) {
	env := lab.Environ(os.Environ())
	for _, pair := range extra {
		name, _, given := strings.Cut(pair, "=")
		if name == "" {
			return nil, fmt.Errorf("--env %q: want NAME=VALUE, or NAME", pair)
		}
		if !given {
			value, ok := os.LookupEnv(name)
			if !ok {
				continue
			}
			pair = name + "=" + value
		}
		env = append(env, pair)
	}
	return env, nil
}
