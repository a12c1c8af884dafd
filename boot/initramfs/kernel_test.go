package initramfs

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"tandem/boot/store"
	"tandem/internal/testenv"
)

// pulled is a kernel of the store.
func pulled(t *testing.T, pkg string) store.Kernel {
	t.Helper()
	s, err := store.Open("")
	must(t, err)
	k, err := s.Get(pkg)
	must(t, err)
	return k
}

// Each set has what it requires in the kernel that it is made for.
func TestSetsFitTheirKernels(t *testing.T) {
	testenv.Need(t, testenv.GuestKernel, testenv.LabKernel)
	for _, c := range []struct {
		pkg     string
		sets    []Set
		missing string
	}{
		// Cloud kernels have no 9p, which is why it is optional.
		{store.GuestPackage, []Set{GuestBoot, GuestDevices, GuestFilesystems, GuestNet}, "9pnet_virtio 9p"},
		{store.LabPackage, []Set{LabBoot, LabVirt, LabNet}, ""},
	} {
		k := pulled(t, c.pkg)
		a := build(t, Base{Init: program(t, machine, false), Busybox: NoBusybox, ModulesDir: k.Modules, Sets: c.sets, Cache: t.TempDir()})
		for name := range strings.FieldsSeq(c.missing) {
			if !strings.Contains(" "+strings.Join(a.Missing, " ")+" ", " "+name+" ") {
				t.Errorf("%s has %s", k.Release, name)
			}
		}
		t.Logf("%s: %d modules in %d bytes; built in: %q; missing: %q", k.Release, len(a.Modules), a.Size, a.Builtin, a.Missing)
	}
}

// TestKernelUnpacks starts a distribution's kernel on a base archive and an overlay behind it, as a monitor puts them
// into memory. What the kernel makes of them is the only judge of a format that has no checks of its own.
func TestKernelUnpacks(t *testing.T) {
	testenv.Need(t, testenv.QEMU, testenv.GuestKernel, testenv.Busybox, testenv.NotLab)
	const script = `#!/bin/sh
export PATH=/sbin:/usr/sbin:/bin:/usr/bin
mount -t proc proc /proc
mount -t devtmpfs dev /dev
say() { echo "RESULT $*"; }
say root $(stat -c %a /) tmp $(stat -c %a /tmp) init.json $(cat /etc/tandem/init.json)
say tandem $(readlink /bin/tandem) sh $(readlink /bin/sh)
failed=
for m in $(cat /etc/tandem/modules); do insmod $m || failed="$failed $m"; done
say failed$failed loaded $(wc -l < /proc/modules) of $(wc -l < /etc/tandem/modules)
# Whoever asks for a module finds it: modprobe by its index files, the kernel by modprobe.
rmmod virtiofs && rmmod squashfs || say busy
modprobe virtiofs && say modprobe $(grep -c ^virtiofs /proc/modules)
mount -t squashfs nothing /mnt 2> /dev/null
say on demand $(grep -c ^squashfs /proc/modules)
poweroff -f
`
	k := pulled(t, store.GuestPackage)
	a := build(t, Base{
		Init: program(t, machine, false), ModulesDir: k.Modules, Cache: t.TempDir(),
		Sets: []Set{GuestBoot, GuestDevices, GuestFilesystems, GuestNet},
	})
	if !a.Busybox {
		t.Fatal("the host's busybox is not in the archive")
	}
	// The overlay's /init takes the place of the base's.
	overlay, err := Overlay([]byte("{}"), File{Name: "/init", Mode: 0o755, Data: []byte(script)})
	must(t, err)
	base, err := os.ReadFile(a.Path)
	must(t, err)
	initrd := filepath.Join(t.TempDir(), "initrd")
	must(t, os.WriteFile(initrd, append(base, overlay...), 0o644))

	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	qemu := exec.CommandContext(ctx, "qemu-system-x86_64", "-M", "q35", "-accel", "tcg", "-cpu", "max", "-m", "512", "-nodefaults", "-display", "none",
		"-serial", "stdio", "-no-reboot", "-kernel", k.Image, "-initrd", initrd, "-append", "console=ttyS0 panic=-1 quiet")
	out, err := qemu.CombinedOutput()
	var got []string
	for lines := bufio.NewScanner(strings.NewReader(string(out))); lines.Scan(); {
		if _, result, ok := strings.Cut(lines.Text(), "RESULT "); ok {
			got = append(got, strings.TrimSpace(result))
		}
	}
	all := strconv.Itoa(len(a.Modules))
	want := []string{
		"root 755 tmp 1777 init.json {}",
		"tandem /init sh /bin/busybox",
		"failed loaded " + all + " of " + all,
		"modprobe 1",
		"on demand 1",
	}
	if err != nil || strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("in the guest:\n%s\nwant\n%s\n%v; its console:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"), err, out)
	}
}
