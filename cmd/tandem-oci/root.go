package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"tandem/container"
)

// Exit statuses of failures.
const (
	statusFailed     = 1
	statusExecFailed = 255 // where 1 may be the command's own
)

// exitStatus ends tandem-oci with the status of a command that it ran, and no words: the command has said all.
type exitStatus int

func (s exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// failure is an error with an exit status of its own.
type failure struct {
	status int
	error
}

func (f *failure) Unwrap() error { return f.error }

// run executes the command line and returns the exit status.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	g := &global{log: logger{stderr: stderr}}
	defer g.log.close()
	root := newRootCommand(g, args...)
	root.CompletionOptions.DisableDefaultCmd = !slices.Contains(args, "completion") // it is made of pages of text
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	return g.finish(root.ExecuteContext(ctx))
}

// finish reports an error, and tells the exit status.
func (g *global) finish(err error) int {
	var status exitStatus
	var failed *failure
	switch {
	case err == nil:
		return 0
	case errors.As(err, &status):
		return int(status)
	}
	g.log.fail(err)
	if errors.As(err, &failed) {
		return failed.status
	}
	return statusFailed
}

// verbs are all commands.
var verbs = []struct {
	name string
	make func(*global) *cobra.Command
}{
	{"create", newCreateCommand},
	{"start", newStartCommand},
	{"state", newStateCommand},
	{"kill", newKillCommand},
	{"delete", newDeleteCommand},
	{"run", newRunCommand},
	{"exec", newExecCommand},
	{"ps", newPSCommand},
	{"list", newListCommand},
	{"pause", newPauseCommand},
	{"resume", newResumeCommand},
	{"update", newUpdateCommand},
	{"events", newEventsCommand},
	{"features", func(*global) *cobra.Command { return newFeaturesCommand() }},
	{"spec", func(*global) *cobra.Command { return newSpecCommand() }},
	{"checkpoint", func(*global) *cobra.Command { return newUnsupportedCommand("checkpoint") }},
	{"restore", func(*global) *cobra.Command { return newUnsupportedCommand("restore") }},
}

func anyVerb(string) bool { return true }

// addVerbs gives root those that are wanted, and that it does not have yet.
func addVerbs(root *cobra.Command, g *global, wanted func(name string) bool) {
	for _, v := range verbs {
		had := slices.ContainsFunc(root.Commands(), func(c *cobra.Command) bool { return c.Name() == v.name })
		if !had && wanted(v.name) {
			root.AddCommand(v.make(g))
		}
	}
}

// newRootCommand makes the command and its verbs: those that the command line names, or all if it names none. A verb that is
// made and not run takes time for nothing, its flags above all. A name that is no verb where it stands does no harm: it can
// only be that of one verb too many.
func newRootCommand(g *global, args ...string) *cobra.Command {
	root := &cobra.Command{
		Use:   "tandem-oci",
		Short: "Create, start and end containers, as the OCI runtime specification tells",
		Long: "tandem-oci makes containers of OCI bundles: folders with a config.json and a root file system.\n" +
			"It takes the command lines of runc and crun, and so serves podman and containerd in their place.",
		Example: "  tandem-oci spec                 # write a config.json beside a folder rootfs\n" +
			"  tandem-oci run hello            # run it\n" +
			"  podman --runtime $(command -v tandem-oci) run alpine",
		Version:           version,
		Args:              noSuchVerb,
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return g.prepare(cmd.Name()) },
		SilenceUsage:      true,
		SilenceErrors:     true,
	}
	if root.Version == "" {
		root.Version = "unknown" // or there is no flag for it
	}
	cobra.AddTemplateFunc("versionText", versionText) // which is put together when it is asked for
	root.SetVersionTemplate("{{versionText}}")
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usageError(cmd, "%v", err) })
	g.register(root.PersistentFlags())
	addVerbs(root, g, func(name string) bool { return slices.Contains(args, name) })
	if !root.HasSubCommands() || strings.HasPrefix(args[0], cobra.ShellCompRequestCmd) {
		addVerbs(root, g, anyVerb)
	}
	help := root.HelpFunc()
	root.SetHelpFunc(func(cmd *cobra.Command, args []string) {
		if cmd == root {
			addVerbs(root, g, anyVerb)
		}
		help(cmd, args)
	})
	return root
}

func noSuchVerb(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return fmt.Errorf("%q is not a command of %s\nSee '%s --help'", args[0], cmd.CommandPath(), cmd.CommandPath())
}

// usageError is a command line that cannot be meant.
func usageError(cmd *cobra.Command, format string, args ...any) error {
	return fmt.Errorf("%s: %w\nUsage: %s\nSee '%s --help'",
		cmd.Name(), fmt.Errorf(format, args...), cmd.UseLine(), cmd.CommandPath())
}

// arguments checks the number of arguments; most -1 is any.
func arguments(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) == 0 && least > 0:
			return usageError(cmd, "the container's ID is missing")
		case len(args) < least:
			return usageError(cmd, "%d argument is too few", len(args))
		case most >= 0 && len(args) > most:
			return usageError(cmd, "%q is one argument too many", args[most])
		}
		return nil
	}
}

// newUnsupportedCommand is a verb of runc's and crun's that tandem-oci has not.
func newUnsupportedCommand(name string) *cobra.Command {
	return &cobra.Command{
		Use:                name,
		Hidden:             true,
		DisableFlagParsing: true,
		RunE: func(*cobra.Command, []string) error {
			return fmt.Errorf("%s: %w: tandem-oci takes no checkpoints of containers", name, container.ErrNotSupported)
		},
	}
}
