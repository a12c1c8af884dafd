package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"tandem/lab"
	"tandem/virtio/blk"
	"tandem/vmm"
)

// vmRunInLab runs a prepared recipe on the lab's KVM, as if it were here: disks and logs are written to the host's
// files, and streams, signals and the exit status pass through.
//
// why is what is wrong with this machine's own KVM, and empty if the user chose the lab.
func vmRunInLab(cmd *cobra.Command, r *recipe, why string) error {
	progress := newStatus(cmd)
	defer progress.done()
	// A plan is made here for what it finds wrong, which then needs no lab, and for the unpacked kernel that it leaves in
	// the cache: the lab's processors would take half a minute for that.
	if _, err := vmm.Plan(r.spec(nil, blk.Open)); err != nil {
		return specFlagError(err)
	}
	dir, err := writeRecipe(r)
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	shares, err := r.written()
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if why != "" {
		fmt.Fprintf(cmd.ErrOrStderr(), "tandem: KVM here cannot run Linux (%s): running in the lab\n", why)
	}
	c := lab.Command{
		Args:   []string{self, "vm", "run", "--prepared", filepath.Join(dir, recipeFile)},
		Env:    lab.Environ(os.Environ()),
		Shares: shares,
		Stdin:  cmd.InOrStdin(), Stdout: cmd.OutOrStdout(), Stderr: cmd.ErrOrStderr(),
	}
	// A person at the console has keys of its own, such as Ctrl-a x, which the tandem in there reads.
	interactive := r.TTY || r.Console == consoleStdio && len(r.Command) == 0
	c.TTY = interactive && isTerminal(c.Stdin) && isTerminal(c.Stdout)
	return runInLab(cmd.Context(), labOptions(progress), progress, c)
}

// inLab tells whether this is the lab.
func inLab() bool { return os.Getenv(lab.Variable) != "" }

// writeRecipe puts the recipe into a folder where the lab sees it, for this user alone: it holds what the guest's
// environment does. The overlay becomes a file beside it, which is mapped, where JSON would have to be decoded.
func writeRecipe(r *recipe) (dir string, err error) {
	if dir, err = os.MkdirTemp("", "tandem-run"); err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			os.RemoveAll(dir)
		}
	}()
	prepared := *r
	if r.Overlay != nil {
		overlay := initrdFile{Path: filepath.Join(dir, "overlay.cpio"), Cached: true}
		if err := os.WriteFile(overlay.Path, r.Overlay, 0o600); err != nil {
			return "", err
		}
		prepared.Initrd, prepared.Overlay = append(slices.Clip(r.Initrd), overlay), nil
	}
	text, err := json.Marshal(prepared)
	if err != nil {
		return "", err
	}
	return dir, os.WriteFile(filepath.Join(dir, recipeFile), text, 0o600)
}

const recipeFile = "recipe.json"

// written are the files that the guest's machine writes to. Logs are made here, since a file has to be there to be
// shared.
func (r *recipe) written() ([]string, error) {
	var files []string
	for _, d := range r.Disks {
		if !d.ReadOnly {
			files = append(files, d.Path)
		}
	}
	for _, s := range r.Shares {
		if !s.ReadOnly {
			files = append(files, s.Source)
		}
	}
	logs := map[string]string{"trace-file": r.TraceFile}
	for _, p := range r.Ports {
		if p.Socket != "" {
			return nil, flagError("port", p.Socket, "the guest runs in the lab, whose sockets cannot be reached from here: want file=PATH")
		}
		file, err := os.Create(p.File)
		if err != nil {
			return nil, flagError("port", p.File, err)
		}
		file.Close()
		files = append(files, p.File)
	}
	if r.Console != consoleStdio && r.Console != consoleNone {
		logs["console"] = r.Console
	}
	for flag, path := range logs {
		if path == "" {
			continue
		}
		file, err := os.Create(path)
		if err != nil {
			return nil, flagError(flag, path, err)
		}
		file.Close()
		files = append(files, path)
	}
	return files, nil
}
