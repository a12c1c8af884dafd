package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"tandem/cmd/tandem/internal/box"
	"tandem/cmd/tandem/internal/cp"
)

const cpHelp = `Copy files and folders between a container and this machine. One side is CONTAINER:PATH, the other a path here, or "-"
for a tar archive on standard output or input. A path here with a colon in it is written with ./ before it.

The container may run or not. While it runs, what is mounted in it is seen as it sees it. Links in the container lead to
where they lead in the container, never to this machine's files; nothing of it is executed.

  SOURCE is a file     TARGET is not there: it is made        TARGET is a file: it is written over
                       TARGET is a folder: copied into it     TARGET ends in / and is not there: an error
  SOURCE is a folder   TARGET is not there: it is made, and what is in SOURCE is copied into it
                       TARGET is a folder: copied into it; if SOURCE ends in "/.", what is in SOURCE is
                       TARGET is a file: an error

Files come to belong to whoever copies, in the container to root; set-user-ID bits are kept on the way in alone.
With --archive owners, such bits and extended attributes are kept as they are. Device nodes are not made on this machine.`

type cpFlags struct{ archive, follow, quiet bool }

func newCpCommand() *cobra.Command {
	var f cpFlags
	cmd := &cobra.Command{
		Use:   "cp [flags] CONTAINER:PATH PATH|-\n  tandem cp [flags] PATH|- CONTAINER:PATH",
		Short: "Copy files between a container and this machine",
		Long:  cpHelp,
		Example: "  tandem cp web:/var/log/nginx ./logs\n  tandem cp site/. web:/www\n" +
			"  tandem cp web:/etc - | tar t\n  tar c -C site . | tandem cp - web:/www",
		Args: exactly("source", "target"),
		RunE: func(cmd *cobra.Command, args []string) error {
			err := copyFiles(cmd, f, args[0], args[1])
			if errors.Is(err, context.Canceled) {
				return exitStatus(statusInterrupted)
			}
			return err
		},
	}
	cmd.Flags().BoolVarP(&f.archive, "archive", "a", false, "keep owners, set-user-ID bits and extended attributes")
	cmd.Flags().BoolVarP(&f.follow, "follow-link", "L", false, "if SOURCE is a symbolic link, copy what it leads to")
	cmd.Flags().BoolVarP(&f.quiet, "quiet", "q", false, "show no progress (there is none where no terminal is)")
	return cmd
}

// splitCpArgument tells NAME:PATH from a path of this machine's.
func splitCpArgument(arg string) (name, path string) {
	if strings.HasPrefix(arg, "/") || strings.HasPrefix(arg, ".") {
		return "", arg
	}
	name, path, found := strings.Cut(arg, ":")
	if !found {
		return "", arg
	}
	return name, path
}

const tarStream = "-"

func copyFiles(cmd *cobra.Command, f cpFlags, source, target string) error {
	fromName, from := splitCpArgument(source)
	toName, to := splitCpArgument(target)
	switch {
	case fromName != "" && toName != "":
		return errors.New("cp: from one container to another: copy to this machine in between, or use: tandem cp A:PATH - | tandem cp - B:PATH")
	case fromName == "" && toName == "":
		return errors.New("cp: neither side is a container's: want CONTAINER:PATH on one of them")
	case from == "" || to == "":
		return errors.New("cp: the path is empty")
	}
	r, err := oneBox(fromName + toName)
	if err != nil {
		return err
	}
	root, done, err := r.OpenRoot(cmd.Context())
	if err != nil {
		return err
	}
	defer done()
	c := &fileCopy{cpFlags: f, cmd: cmd, name: r.Name, box: cp.Place{Root: root}}
	if err := c.checkVolume(r, fromName+toName, from, to, fromName != ""); err != nil {
		return err
	}
	stopShow := c.show(target)
	// It may wait for a stream that only its other end can end.
	ended := make(chan error, 1)
	go func() {
		if fromName != "" {
			ended <- c.out(from, to)
		} else {
			ended <- c.in(from, to)
		}
	}()
	select {
	case err = <-ended:
	case <-cmd.Context().Done():
		err = context.Cause(cmd.Context())
	}
	stopShow(err == nil)
	return err
}

// fileCopy is one copy on its way.
type fileCopy struct {
	cpFlags
	cmd   *cobra.Command
	name  string // of the container
	box   cp.Place
	bytes atomic.Int64
}

// checkVolume refuses what would be written below a mount, or looked for there, that is not there while its container does
// not run.
func (c *fileCopy) checkVolume(r *box.Record, name, from, to string, out bool) error {
	if s := r.Status(); s == box.Running || s == box.Paused {
		return nil
	}
	path := to
	if out {
		path = from
	}
	if source, ok := r.Volume(path); ok {
		return fmt.Errorf("cp: %s of %s lies on %s, which is mounted while it runs alone: copy there", path, name, source)
	}
	return nil
}

func (c *fileCopy) warn(format string, args ...any) {
	fmt.Fprintf(c.cmd.ErrOrStderr(), "tandem: warning: "+format+"\n", args...)
}

// inBox tells that it is the container's files that are meant.
func (c *fileCopy) inBox(err error) error { return fmt.Errorf("cp: container %s: %w", c.name, err) }

func (c *fileCopy) packing() cp.PackOptions {
	return cp.PackOptions{Xattrs: c.archive, Warn: c.warn, Count: func(n int64) { c.bytes.Add(n) }}
}

func (c *fileCopy) out(from, to string) error {
	s, err := c.box.Open(from, c.follow)
	if err != nil {
		return c.inBox(err)
	}
	defer s.Close()
	if to == tarStream {
		if isTerminal(c.cmd.OutOrStdout()) {
			return errors.New("cp: an archive is not for a terminal: send it to a file, or to tar")
		}
		w := bufio.NewWriterSize(c.cmd.OutOrStdout(), 1<<20)
		if err := cp.Pack(w, s, s.Base(), c.packing()); err != nil {
			return err
		}
		return w.Flush()
	}
	t, err := cp.Place{}.Target(to, s)
	if err != nil {
		return err
	}
	defer t.Close()
	return cp.Copy(t, s, c.packing(), cp.UnpackOptions{Archive: c.archive, Warn: c.warn})
}

func (c *fileCopy) in(from, to string) error {
	o := cp.UnpackOptions{Archive: c.archive, Warn: c.warn, Devices: os.Geteuid() == 0}
	if os.Geteuid() == 0 {
		o.Owner = &[2]int{0, 0}
	}
	if from == tarStream {
		if isTerminal(c.cmd.InOrStdin()) {
			return errors.New("cp: standard input is a terminal, and no archive")
		}
		t, err := c.box.Target(to, nil)
		if err != nil {
			return c.inBox(err)
		}
		defer t.Close()
		o.Archive = true // who made the archive said whose its files are
		return t.Unpack(io.TeeReader(c.cmd.InOrStdin(), countWriter{&c.bytes}), o)
	}
	s, err := cp.Place{}.Open(from, c.follow)
	if err != nil {
		return err
	}
	defer s.Close()
	t, err := c.box.Target(to, s)
	if err != nil {
		return c.inBox(err)
	}
	defer t.Close()
	return cp.Copy(t, s, c.packing(), o)
}

type countWriter struct{ n *atomic.Int64 }

func (w countWriter) Write(b []byte) (int, error) {
	w.n.Add(int64(len(b)))
	return len(b), nil
}

// cpShowEvery is how often progress is shown.
const cpShowEvery = 200 * time.Millisecond

// show shows how far it has come, until it is told how it ended.
func (c *fileCopy) show(target string) (stop func(ok bool)) {
	line := newStatus(c.cmd)
	if c.quiet || line.terminal == nil {
		return func(bool) {}
	}
	ticker, quit, done := time.NewTicker(cpShowEvery), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-ticker.C:
				line.step("copied %s", decimalSize(uint64(c.bytes.Load())))
			case <-quit:
				return
			}
		}
	}()
	return func(ok bool) {
		ticker.Stop()
		close(quit)
		<-done
		line.done()
		if ok {
			fmt.Fprintf(c.cmd.ErrOrStderr(), "Copied %s to %s\n", decimalSize(uint64(c.bytes.Load())), target)
		}
	}
}
