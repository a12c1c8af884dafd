package initramfs

import (
	"bufio"
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"tandem/boot/cpio"
	"tandem/boot/kmod"
)

// skeleton is there before init has mounted anything. The root itself is a tmpfs, which anybody may write to unless
// told.
var skeleton = []struct {
	name string
	perm uint32
}{
	{".", 0o755}, {"dev", 0o755}, {"etc", 0o755}, {"mnt", 0o755}, {"proc", 0o555}, {"root", 0o700}, {"run", 0o755}, {"sys", 0o555}, {"tmp", 0o1777}, {"var", 0o755},
}

// write makes the archive and describes it.
func (b Base) write(ctx context.Context, f *os.File, key string) (*Archive, error) {
	out := bufio.NewWriterSize(f, 1<<20)
	w := cpio.NewWriter(out)
	a := &Archive{Digest: key, Busybox: b.Busybox != ""}
	for _, d := range skeleton {
		if err := w.Dir(d.name, d.perm); err != nil {
			return nil, err
		}
	}
	// The kernel opens /dev/console for init's standard streams before anybody could mount a devtmpfs.
	if err := w.Device("dev/console", unix.S_IFCHR|0o600, 5, 1); err != nil {
		return nil, err
	}
	if err := w.Device("dev/null", unix.S_IFCHR|0o666, 1, 3); err != nil {
		return nil, err
	}
	if err := addProgram(w, "init", b.Init); err != nil {
		return nil, fmt.Errorf("init: %w", err)
	}
	if err := w.Symlink("bin/tandem", "/init"); err != nil {
		return nil, err
	}
	if b.Busybox != "" {
		if err := addBusybox(ctx, w, b.Busybox); err != nil {
			return nil, fmt.Errorf("busybox: %w", err)
		}
	}
	if b.ModulesDir != "" {
		if err := addModules(ctx, w, b, a); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	if err := out.Flush(); err != nil {
		return nil, err
	}
	a.Size = w.Size()
	return a, nil
}

// addProgram adds a host's static binary.
func addProgram(w *cpio.Writer, name, file string) error {
	if err := checkStatic(file); err != nil {
		return err
	}
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	return w.File(name, 0o755, st.Size(), f)
}

// checkStatic tells why a file is not a program that runs without libraries.
func checkStatic(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	program, err := elf.NewFile(f)
	if err != nil {
		return fmt.Errorf("%s: %w: %w", file, ErrDynamic, err)
	}
	if program.Machine != machine {
		return fmt.Errorf("%s is for %v, not %v: %w", file, program.Machine, machine, ErrDynamic)
	}
	for _, p := range program.Progs {
		if p.Type == elf.PT_INTERP {
			return fmt.Errorf("%s needs a dynamic linker (a Go program is built without one by CGO_ENABLED=0): %w", file, ErrDynamic)
		}
	}
	return nil
}

// addBusybox adds busybox and a link for each of its applets, but for what would take the place of tandem's init.
func addBusybox(ctx context.Context, w *cpio.Writer, file string) error {
	if err := addProgram(w, "bin/busybox", file); err != nil {
		return err
	}
	links, err := applets(ctx, file)
	if err != nil {
		return err
	}
	for _, link := range links {
		if err := w.Symlink(link, "/bin/busybox"); err != nil && !errors.Is(err, cpio.ErrExists) {
			return err
		}
	}
	return nil
}

// applets are the paths, without the slash at the front, of the links that busybox wants.
func applets(ctx context.Context, busybox string) (links []string, err error) {
	out, err := exec.CommandContext(ctx, busybox, "--list-full").Output()
	if err != nil {
		return nil, fmt.Errorf("%s --list-full: %w", busybox, err)
	}
	for link := range strings.Lines(string(out)) {
		link = strings.TrimSpace(link)
		switch path.Base(link) {
		case "busybox", "init", "linuxrc", ".":
			continue
		}
		links = append(links, link)
	}
	return links, nil
}

// addModules adds the modules of the sets, decompressed, with the index files that modprobe reads, and describes them
// in a.
func addModules(ctx context.Context, w *cpio.Writer, b Base, a *Archive) error {
	tree, err := kmod.Open(b.ModulesDir)
	if err != nil {
		return err
	}
	a.Kernel = tree.Version()
	var required, optional []string
	for _, s := range b.Sets {
		required = append(required, s.Required...)
		optional = append(optional, s.Optional...)
	}
	if a.Modules, a.Missing, err = tree.Resolve(required, optional); err != nil {
		return err
	}
	if err := describe(tree, append(required, optional...), a); err != nil {
		return err
	}
	for _, m := range a.Modules {
		if err := ctx.Err(); err != nil {
			return err
		}
		data, err := tree.ReadModule(m)
		if err != nil {
			return err
		}
		if err := w.Bytes(modulePath(a.Kernel, m), 0o644, data); err != nil {
			return err
		}
	}
	return addIndex(w, tree, a)
}

// describe tells what each name means in this kernel.
func describe(tree *kmod.Tree, names []string, a *Archive) error {
	a.Names = map[string][]string{}
	missing := map[string]bool{}
	for _, name := range a.Missing {
		missing[name] = true
	}
	seen := map[string]bool{}
	for _, name := range names {
		if seen[name] || missing[name] {
			continue
		}
		seen[name] = true
		modules, _, err := tree.Resolve([]string{name}, nil)
		if err != nil {
			return err
		}
		if len(modules) == 0 {
			a.Builtin = append(a.Builtin, name)
			continue
		}
		for _, m := range modules {
			a.Names[name] = append(a.Names[name], m.Name)
		}
	}
	return nil
}

// addIndex adds the tree's index files, cut down to the modules in the archive.
func addIndex(w *cpio.Writer, tree *kmod.Tree, a *Archive) error {
	plain := make([]kmod.Module, len(a.Modules))
	for i, m := range a.Modules {
		m.Path = m.Plain()
		plain[i] = m
	}
	dir := "lib/modules/" + a.Kernel + "/"
	for _, index := range []struct {
		file  string
		write func(*bytes.Buffer, []kmod.Module) error
	}{
		{"modules.dep", tree.WriteDep},
		{"modules.alias", tree.WriteAlias},
		{"modules.softdep", tree.WriteSoftdep},
	} {
		var buf bytes.Buffer
		if err := index.write(&buf, plain); err != nil {
			return err
		}
		if err := w.Bytes(dir+index.file, 0o644, buf.Bytes()); err != nil {
			return err
		}
	}
	builtin, err := os.ReadFile(filepath.Join(tree.Dir(), "modules.builtin"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := w.Bytes(dir+"modules.builtin", 0o644, builtin); err != nil {
		return err
	}
	var order bytes.Buffer
	for _, m := range a.Modules {
		fmt.Fprintln(&order, modulePath(a.Kernel, m))
	}
	return w.Bytes("etc/tandem/modules", 0o644, order.Bytes())
}
