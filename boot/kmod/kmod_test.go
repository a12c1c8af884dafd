package kmod

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"tandem/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

func TestName(t *testing.T) {
	for path, want := range map[string]string{
		"virtio-net":                             "virtio_net",
		"kernel/drivers/net/virtio-net.ko.zst":   "virtio_net",
		"kernel/drivers/kvm/kvm-amd.ko":          "kvm_amd",
		"9p.ko.xz":                               "9p",
		"a.ko.gz":                                "a",
		"fs-ext4":                                "fs_ext4",
		"kernel/crypto/blake2b_generic.ko.bogus": "blake2b_generic.ko.bogus",
		"archive.gz":                             "archive.gz",
		"":                                       "",
	} {
		if got := Name(path); got != want {
			t.Errorf("Name(%q) = %q, want %q", path, got, want)
		}
	}
}

// tree is small, and has one of each difficulty.
var tree = map[string]string{
	"modules.dep": `
# a comment
kernel/virtio/virtio-ring.ko.xz:
kernel/virtio/virtio.ko: kernel/virtio/virtio-ring.ko.xz
kernel/net/virtio_net.ko: kernel/net/net_failover.ko kernel/net/failover.ko kernel/virtio/virtio.ko kernel/virtio/virtio-ring.ko.xz
kernel/net/net_failover.ko: kernel/net/failover.ko
kernel/net/failover.ko:
kernel/lib/libcrc32c.ko:
kernel/crypto/crc32c-intel.ko:
kernel/crypto/sha-fast.ko:
kernel/crypto/sha-slow.ko:
kernel/fs/hungry.ko: kernel/fs/eaten.ko
kernel/fs/picky.ko: kernel/fs/builtin_lib.ko
kernel/loop/a.ko: kernel/loop/b.ko
kernel/loop/b.ko: kernel/loop/c.ko
kernel/loop/c.ko: kernel/loop/a.ko
kernel/loop/self.ko: kernel/loop/self.ko
kernel/soft/first.ko:
kernel/soft/second.ko:
kernel/soft/main.ko:
kernel/soft/later.ko: kernel/soft/laterdep.ko
kernel/soft/laterdep.ko:
kernel/soft/ping.ko:
kernel/soft/pong.ko:
`,
	"modules.softdep": `# soft
softdep libcrc32c pre: crc32c
softdep main pre: first second nosuch hungry post: later
softdep ping pre: pong
softdep pong pre: ping
softdep gone pre: first
`,
	"modules.alias": `
alias crypto-sha sha_slow
alias crypto-sha sha_fast
alias crc32c crc32c_intel
alias virtio:d00000001v* virtio_net
alias pci:v0000[1-3]* failover
alias fs-dangling vanished
alias broken[ failover
`,
	"modules.builtin":         "kernel/fs/ext4/ext4.ko\nkernel/fs/builtin-lib.ko\n",
	"modules.builtin.modinfo": "ext4.alias=fs-ext4\x00ext4.license=GPL\x00crc32c_generic.alias=crc32c\x00",
}

func TestResolve(t *testing.T) {
	tr := open(t, tree)
	if tr.Version() != "1.2.3" {
		t.Errorf("version %q, want 1.2.3", tr.Version())
	}
	for _, c := range []struct {
		want, optional string // space-separated
		order, missing string
		err            string
	}{
		{want: "", order: ""},
		{want: "virtio-net", order: "virtio_ring virtio failover net_failover virtio_net"},
		{want: "virtio_net virtio failover", order: "virtio_ring virtio failover net_failover virtio_net"},
		{want: "virtio", optional: "virtio_net", order: "virtio_ring virtio failover net_failover virtio_net"},
		{want: "ext4", order: ""},
		{want: "fs-ext4", order: ""},
		{want: "picky", order: "picky"},
		{want: "crypto-sha", order: "sha_slow sha_fast"},
		{want: "crypto_sha", order: "sha_slow sha_fast"},
		{want: "virtio:d00000001vFFFF", order: "virtio_ring virtio failover net_failover virtio_net"},
		{want: "pci:v00002x", order: "failover"},
		{want: "pci:v00004x", err: "pci:v00004x"},
		// crc32c is built in, so the faster variant is not worth a module.
		{want: "libcrc32c", order: "libcrc32c"},
		{want: "main", order: "first second main laterdep later"},
		{want: "ping", order: "pong ping"},
		{want: "pong", order: "ping pong"},
		{want: "nosuch", err: "nosuch"},
		{want: "hungry", err: "resolve hungry: it needs eaten, which kernel 1.2.3 has not"},
		{want: "fs-dangling", err: "vanished"},
		{want: "virtio", optional: "nosuch hungry fs-dangling ext4", order: "virtio_ring virtio", missing: "nosuch hungry fs-dangling"},
	} {
		order, missing, err := tr.Resolve(strings.Fields(c.want), strings.Fields(c.optional))
		what := fmt.Sprintf("Resolve(%q, %q)", c.want, c.optional)
		if c.err != "" {
			if !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: %v, want %q", what, err, c.err)
			}
			continue
		}
		if err != nil || names(order) != c.order || strings.Join(missing, " ") != c.missing {
			t.Errorf("%s = %q, %q, %v; want %q, %q", what, names(order), missing, err, c.order, c.missing)
		}
	}
	var missing *MissingError
	if _, _, err := tr.Resolve([]string{"hungry"}, nil); !errors.As(err, &missing) || missing.Name != "eaten" || missing.By != "hungry" {
		t.Errorf("missing = %+v", missing)
	}
}

func TestResolveRefusesCircles(t *testing.T) {
	tr := open(t, tree)
	for name, want := range map[string]string{
		"a":    "a needs b needs c needs a",
		"c":    "c needs a needs b needs c",
		"self": "self needs self",
	} {
		if _, _, err := tr.Resolve([]string{name}, nil); !errors.Is(err, ErrCycle) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
	// A module that is optional is left out with all that its attempt has added.
	order, missing, err := tr.Resolve([]string{"failover"}, []string{"a", "virtio"})
	if err != nil || names(order) != "failover virtio_ring virtio" || strings.Join(missing, " ") != "a" {
		t.Errorf("optional circle: %q, %q, %v", names(order), missing, err)
	}
}

// A tree in which each level tries the next one softly several times over, and fails only at the very end, would
// keep a walk without a bound busy for longer than the universe has been.
func TestResolveIsBounded(t *testing.T) {
	var dep, soft strings.Builder
	const levels = 200
	for i := range levels {
		fmt.Fprintf(&dep, "x%d.ko: x%d.ko ok%d.ko\nok%d.ko:\n", i, i+1, i, i)
		fmt.Fprintf(&soft, "softdep ok%d pre: x%d\n", i, i+1)
	}
	tr := open(t, map[string]string{"modules.dep": dep.String(), "modules.softdep": soft.String()})
	if _, _, err := tr.Resolve(nil, []string{"x0"}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("%v, want %v", err, ErrTooLarge)
	}
}

func TestHas(t *testing.T) {
	tr := open(t, tree)
	for name, want := range map[string][2]bool{
		"virtio": {true, false}, "ext4": {true, true}, "fs-ext4": {true, true}, "nosuch": {}, "crypto-sha": {true, false},
	} {
		if there, builtin := tr.Has(name); there != want[0] || builtin != want[1] {
			t.Errorf("Has(%q) = %v, %v, want %v", name, there, builtin, want)
		}
	}
}

func TestAliases(t *testing.T) {
	tr := open(t, tree)
	if got := strings.Join(tr.Aliases("virtio-net"), " "); got != "virtio:d00000001v*" {
		t.Errorf("aliases of virtio-net = %q", got)
	}
}

func TestOpenRefuses(t *testing.T) {
	for what, files := range map[string]map[string]string{
		"no colon":         {"modules.dep": "kernel/a.ko\n"},
		"absolute":         {"modules.dep": "/etc/a.ko:\n"},
		"leads out":        {"modules.dep": "../a.ko:\n"},
		"dep leads out":    {"modules.dep": "a.ko: ../../b.ko\n"},
		"unclean":          {"modules.dep": "kernel//a.ko:\n"},
		"no module":        {"modules.dep": "kernel/a.txt:\n"},
		"no name":          {"modules.dep": "kernel/.ko:\n"},
		"twice":            {"modules.dep": "a/x-y.ko:\nb/x_y.ko.xz:\n"},
		"binary":           {"modules.dep": "\x7fELF\x00\x00"},
		"endless line":     {"modules.dep": strings.Repeat("a", 2<<20)},
		"softdep":          {"modules.dep": "", "modules.softdep": "hard a pre: b\n"},
		"alias":            {"modules.dep": "", "modules.alias": "alias a\n"},
		"builtin modinfo":  {"modules.dep": "", "modules.builtin.modinfo": "a=b\x00"},
		"builtin modinfo2": {"modules.dep": "", "modules.builtin.modinfo": "a.b\x00"},
	} {
		if _, err := Open(write(t, files)); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v, want %v", what, err, ErrFormat)
		}
	}
	if _, err := Open(write(t, map[string]string{"modules.order": ""})); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "depmod") {
		t.Errorf("no modules.dep: %v, want %v and a word of depmod", err, fs.ErrNotExist)
	}
	if _, err := Open("/nonexistent/1.2.3"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no folder: %v, want %v", err, fs.ErrNotExist)
	}
}
