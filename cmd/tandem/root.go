package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

// statusFailed is the exit status for a failure of tandem's own, told apart from that of a command it ran.
const statusFailed = 125

// exitStatus is what a verb returns to end tandem with a status and no words: it has said all, or a command has.
type exitStatus int

func (s exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// run executes the command line and returns the exit status.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRootCommand()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	var status exitStatus
	var failed *failedCommand
	switch {
	case err == nil:
		return 0
	case errors.As(err, &status):
		return int(status)
	}
	fmt.Fprintf(stderr, "tandem: %s\n", shortIDs(err.Error(), args))
	if errors.As(err, &failed) {
		return int(failed.status)
	}
	return statusFailed
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "tandem",
		Short: "Boot microVMs, run containers, follow their packets",
		Long: "Tandem boots Linux guests and runs containers, and shows what it asks the kernel to do for that.\n" +
			"Try:  tandem vm run -- uname -a\n" +
			"      tandem run --rootfs / -- ps aux\n" +
			"      tandem explain run --rootfs / -- ps aux",
		Args:          noSuchCommand,
		RunE:          showHelp,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w\nSee '%s --help'", err, cmd.CommandPath())
	})
	root.AddCommand(
		newKernelCommand(),
		newImageCommand(),
		newLabCommand(),
		newProbeCommand(),
		newExplainCommand(),
		newVMCommand(),
		newVhostUserCommand(),
		newVersionCommand(),
	)
	root.AddCommand(boxVerbs()...)
	return root
}

// newGroupCommand is a noun whose verbs are commands below it.
func newGroupCommand(use, short string, verbs ...*cobra.Command) *cobra.Command {
	group := &cobra.Command{Use: use, Short: short, Args: noSuchCommand, RunE: showHelp}
	group.AddCommand(verbs...)
	return group
}

func showHelp(cmd *cobra.Command, _ []string) error { return cmd.Help() }

// noSuchCommand refuses what is left of a command line where only a verb may stand.
func noSuchCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if verb := imageVerbs[args[0]]; verb != "" && !cmd.HasParent() {
		return fmt.Errorf("%q is not a command of tandem; it has 'tandem image %s'", args[0], verb)
	}
	return fmt.Errorf("%q is not a command of %s\nSee '%s --help'", args[0], cmd.CommandPath(), cmd.CommandPath())
}

// imageVerbs are docker's commands for images that stand below a noun here.
var imageVerbs = map[string]string{
	"images": "ls", "pull": "pull", "push": "push", "load": "import", "import": "import", "save": "save", "tag": "tag", "rmi": "rm", "history": "layers",
}
