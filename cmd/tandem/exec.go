package main

import (
	"context"

	"github.com/spf13/cobra"

	"tandem/cmd/tandem/internal/box"
	"tandem/internal/signals"
)

func newExecCommand() *cobra.Command {
	var (
		o                   box.ExecOptions
		env, envFiles       []string
		interactive, detach bool
		keys                keysFlag
	)
	cmd := &cobra.Command{
		Use:   "exec [flags] CONTAINER COMMAND [ARG...]",
		Short: "Run one more command in a container that runs",
		Long: "Runs a command in a container that runs: in its namespaces, its cgroup and its root file system, with its\n" +
			"capabilities and its filter of system calls. Ends with the command's status, or 125 to 127, as tandem run.\n" +
			"With -it the keys Ctrl-P Ctrl-Q leave it running, as does closing the terminal's window. Nobody can come back to it.",
		Example: "  tandem exec -it web sh\n  tandem exec -u www-data -w /www web ls -l",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				return argumentError(cmd, "the command is missing")
			}
			return atLeastOne("container")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := oneBox(args[0])
			if err != nil {
				return err
			}
			o.Command = args[1:]
			if o.Env, err = readEnv(envFiles, env); err != nil {
				return err
			}
			if o.TTY && interactive && !detach && !isTerminal(cmd.InOrStdin()) {
				return errNoTerminal
			}
			if detach || o.TTY && interactive {
				return boxError(execKept(cmd, r, execRequest{Options: o, Detach: detach, Keys: keys.codes}))
			}
			return boxError(execInBox(cmd, r, o, interactive))
		},
	}
	flags := cmd.Flags()
	flags.SetInterspersed(false) // what follows the container is the command's
	flags.BoolVarP(&interactive, "interactive", "i", false, "let the command read standard input")
	flags.BoolVarP(&o.TTY, "tty", "t", false, "give the command a terminal")
	flags.BoolVarP(&detach, "detach", "d", false, "leave it running; its output goes nowhere")
	flags.StringArrayVarP(&env, "env", "e", nil, "`NAME=VALUE` for the environment, or NAME for this process's value")
	flags.StringArrayVar(&envFiles, "env-file", nil, "read such lines from `FILE`")
	flags.StringVarP(&o.User, "user", "u", "", "run as `USER[:GROUP]`, names or numbers of the container's own")
	flags.StringVarP(&o.Workdir, "workdir", "w", "", "start in `DIR` of the container")
	keys.register(flags, ", with -it")
	return cmd
}

// execInBox runs a command as this process's child, on this process's streams.
func execInBox(cmd *cobra.Command, r *box.Record, o box.ExecOptions, interactive bool) error {
	t := newBoxTerminal(cmd.InOrStdin(), cmd.OutOrStdout(), interactive)
	streams := box.Streams{Console: t.attach}
	streams.ConsoleSize[0], streams.ConsoleSize[1] = terminalSize(cmd.InOrStdin())
	var pipes streamPipes
	if err := pipes.open(cmd, &streams, o.TTY, interactive); err != nil {
		return err
	}
	defer pipes.close()
	caught := signals.Catch()
	p, err := r.Exec(context.WithoutCancel(cmd.Context()), o, streams)
	if err != nil {
		t.close()
		return err
	}
	defer p.Release()
	pipes.started()
	passSignals(caught, p.Process, t)
	status, err := p.Wait()
	t.close()
	if err != nil {
		return err
	}
	return endAs(box.ExitStatus(status))
}

// endAs ends tandem with a command's status.
func endAs(status int) error {
	if status != 0 {
		return exitStatus(status)
	}
	return nil
}
