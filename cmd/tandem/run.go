package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"tandem/cmd/tandem/internal/box"
	"tandem/container/image"
)

const runHelp = `Make a container, and run a command in it.

The container's files are an image's, or with --rootfs a folder's of this machine, "/" too. Either way they are the lower
layers of an overlay: what the command writes goes to a layer of its own. That of a --rootfs is thrown away when the
container ends, that of an image when the container is removed (tandem rm, or --rm).

The command has docker's fourteen capabilities, its filter of system calls, its masked paths and its devices. As with
docker, a set-uid program may give it what it has lost: --security-opt no-new-privileges.

In the foreground the command's streams are tandem's own, or pipes to its terminal, and nothing is logged. Signals are
passed on to it; the second of INT, TERM, HUP and QUIT kills it, as a container's first process ignores whatever it has no
handler for.
With --detach, see tandem logs, attach, exec, stop and rm. A process of tandem's stays with the container then. That is who
starts it anew with --restart: after 0.1 s, then 0.2 s and so on up to a minute, until somebody stops it. There is no daemon
that would start it after a reboot.
With -t, mostly -it, such a process stays with the container too, and this one is at its terminal: Ctrl-P Ctrl-Q
(--detach-keys) leave the container running, as does closing the terminal's window; tandem attach comes back to it, and
tandem logs shows what was on the terminal.

A healthcheck, the image's or that of --health-cmd, is a command that is run in the container now and then, by the process
that stays with it. tandem ps, inspect and events tell what it found.

Exit statuses: the command's own, or 128 and the number of the signal that killed it. Otherwise:
  125  tandem itself failed
  126  the command cannot be executed
  127  the command is not found`

func newRunCommand() *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run [flags] IMAGE|--rootfs DIR [--] [COMMAND [ARG...]]",
		Short: "Run a command in a new container",
		Long:  runHelp,
		Example: `  tandem run --rootfs / -- ps aux
  tandem run -it --rm alpine
  tandem run -d --name web -m 64M --cpus 0.5 -p 8080:80 -v ./site:/www:ro busybox httpd -f -h /www
  tandem run -d -P --health-cmd 'wget -q -O /dev/null localhost' --health-interval 5s nginx && tandem ps
  tandem run -it --name shell alpine    # Ctrl-P Ctrl-Q leaves it; tandem attach shell
  tandem run --trace --rm --rootfs / true`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return boxError(runBox(cmd, &f, args))
		},
	}
	f.register(cmd.Flags())
	f.detachKeys.register(cmd.Flags(), ", with -it")
	cmd.Flags().BoolVar(&f.trace, "trace", false, "print each step as it is taken, with its time")
	return cmd
}

var errNoTerminal = errors.New("--tty with --interactive: standard input is no terminal (leave -t out)")

func runBox(cmd *cobra.Command, f *runFlags, args []string) error {
	o, err := f.settle(cmd.Flags(), args)
	if err != nil {
		return err
	}
	if o.Detach && f.trace {
		return errors.New("--trace with --detach: the steps are another process's; trace it in the foreground")
	}
	if o.TTY && !o.Detach && !isTerminal(cmd.InOrStdin()) && o.Interactive {
		return errNoTerminal
	}
	asked := o.Detach
	// Who is at a terminal may leave it, so that the container has a keeper of its own. Steps are traced in this process.
	session := !asked && o.TTY && !f.trace
	o.Detach = asked || session
	r, err := newBox(cmd, f, o)
	if err != nil {
		return err
	}
	switch {
	case session:
		return runSession(cmd, f, r)
	case !asked:
		return runForeground(cmd, f, r)
	}
	if err := r.Detach(cmd.Context(), box.Handover{Warn: warnTo(cmd)}); err != nil {
		return err
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout(), r.ID)
	return err
}

// newBox makes what options ask for, to be started.
func newBox(cmd *cobra.Command, f *runFlags, o *box.Options) (*box.Record, error) {
	home, err := box.Open()
	if err != nil {
		return nil, err
	}
	cid, err := newIDFile(f.cidFile)
	if err != nil {
		return nil, err
	}
	progress := newImageProgress(cmd)
	if f.quiet {
		progress.line = &status{}
	}
	defer progress.line.done()
	if err := pullForRun(cmd.Context(), home, o.Image, f.pull.value, progress.show); err != nil {
		return nil, errors.Join(err, cid.remove())
	}
	r, err := home.New(cmd.Context(), *o, progress.show)
	if err != nil {
		return nil, errors.Join(err, cid.remove())
	}
	if err := cid.write(r.ID); err != nil {
		return nil, errors.Join(err, r.Discard())
	}
	return r, nil
}

// pullForRun gets the image, if it shall be got.
func pullForRun(ctx context.Context, home *box.Home, ref, policy string, progress image.Progress) error {
	if ref == "" {
		return nil
	}
	store, err := home.Images()
	if err != nil {
		return err
	}
	if policy == pullNever {
		_, err := store.Resolve(ref)
		return imageHint(err)
	}
	if policy == pullMissing {
		if _, err := store.Resolve(ref); !errors.Is(err, image.ErrNotFound) {
			return err
		}
	}
	if _, err = store.Pull(ctx, ref, image.TransferOptions{Progress: progress}); err != nil && policy == pullMissing {
		return fmt.Errorf("image %s is not here (see `tandem image ls`), and cannot be got: %w", ref, err)
	}
	return err
}

// idFile is what --cidfile names. The zero value is none.
type idFile struct{ file *os.File }

func newIDFile(path string) (idFile, error) {
	if path == "" {
		return idFile{}, nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, os.ErrExist) {
		return idFile{}, fmt.Errorf("--cidfile: %w: another container's, it may be; remove it first", err)
	}
	if err != nil {
		return idFile{}, fmt.Errorf("--cidfile: %w", err)
	}
	return idFile{f}, nil
}

func (c idFile) write(id string) error {
	if c.file == nil {
		return nil
	}
	_, err := c.file.WriteString(id)
	return errors.Join(err, c.file.Close())
}

func (c idFile) remove() error {
	if c.file == nil {
		return nil
	}
	return errors.Join(c.file.Close(), os.Remove(c.file.Name()))
}

// imageProgress shows what is done to an image on one line.
type imageProgress struct{ line *status }

func newImageProgress(cmd *cobra.Command) *imageProgress { return &imageProgress{newStatus(cmd)} }

func (p *imageProgress) show(step string, done, total int64) { p.line.progress(step, done, total) }
