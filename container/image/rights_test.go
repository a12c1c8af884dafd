package image

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tandem/internal/testenv"
)

const nobody = 65534

// userArchive is a root file system with owners, modes and things that a user cannot have.
func userArchive(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range []tar.Header{
		{Typeflag: tar.TypeDir, Name: "home/", Mode: 0o755},
		{Typeflag: tar.TypeDir, Name: "home/anna/", Mode: 0o700, Uid: 1000, Gid: 1001},
		{Typeflag: tar.TypeReg, Name: "home/anna/f", Mode: 0o600, Uid: 1000, Gid: 1001, Size: 1},
		{Typeflag: tar.TypeDir, Name: "shut/", Mode: 0o500},
		{Typeflag: tar.TypeReg, Name: "shut/f", Mode: 0o400, Size: 1},
		{Typeflag: tar.TypeReg, Name: "su", Mode: 0o4755, Size: 1},
		{Typeflag: tar.TypeReg, Name: "ping", Mode: 0o755, Size: 1, PAXRecords: map[string]string{
			"SCHILY.xattr.security.capability": "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
		}},
		{Typeflag: tar.TypeChar, Name: "dev/sda", Devmajor: 8},
		{Typeflag: tar.TypeReg, Name: "opt/.wh..wh..opq"},
		{Typeflag: tar.TypeReg, Name: "etc/.wh.motd"},
	} {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, strings.Repeat("x", int(h.Size))); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// asNobody runs a word of testProcess as a user without rights, who has the IDs that subuid says.
func asNobody(t *testing.T, subuid, word, root string, stdin []byte) {
	t.Helper()
	dir := filepath.Dir(root)
	program := filepath.Join(dir, "program")
	if _, err := os.Stat(program); err != nil { // the one that runs is in a folder of root's
		data, err := os.ReadFile("/proc/self/exe")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(program, data, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	etc := t.TempDir()
	for _, name := range []string{"subuid", "subgid"} {
		if err := os.WriteFile(filepath.Join(etc, name), []byte(subuid), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(etc, 0o755); err != nil {
		t.Fatal(err)
	}
	script := fmt.Sprintf(`set -e
		mount -t overlay overlay -o lowerdir=%s:/etc /etc
		cd %s
		exec setpriv --reuid %d --regid %d --clear-groups %s`, etc, dir, nobody, nobody, program)
	cmd := exec.Command("unshare", "--mount", "sh", "-c", script)
	cmd.Env = append(os.Environ(), helperVariable+"="+word+" "+root)
	cmd.Stdin = bytes.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// TestUsers unpacks as a user with further IDs, and as one without.
func TestUsers(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.MountNS, testenv.UserNS, testenv.Overlay, testenv.NewUIDMap)
	for _, test := range []struct {
		name, subuid string
		owner        func(id uint32) uint32 // outside, of an ID inside
	}{
		{"with further IDs", "nobody:100000:500\nnobody:300000:65036\n", func(id uint32) uint32 {
			switch {
			case id == 0:
				return nobody
			case id <= 500:
				return 100000 + id - 1
			}
			return 300000 + id - 501
		}},
		{"alone", "somebody:100000:65536\n", func(uint32) uint32 { return nobody }},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir, err := os.MkdirTemp("/tmp", "tt") // not in the test's own folder, which others have no way to
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(dir)
			root := filepath.Join(dir, "root")
			if err := os.Mkdir(root, 0o700); err != nil {
				t.Fatal(err)
			}
			for _, path := range []string{dir, root} {
				if err := os.Chown(path, nobody, nobody); err != nil {
					t.Fatal(err)
				}
			}
			asNobody(t, test.subuid, "import", root, userArchive(t))
			diffs, err := filepath.Glob(filepath.Join(root, "images", layersDir, "*", diffDir))
			if err != nil || len(diffs) != 1 {
				t.Fatalf("layers %q, %v", diffs, err)
			}
			for name, want := range map[string]struct{ mode, uid, gid uint32 }{
				".":           {unix.S_IFDIR | 0o755, 0, 0},
				"home/anna":   {unix.S_IFDIR | 0o700, 1000, 1001},
				"home/anna/f": {unix.S_IFREG | 0o600, 1000, 1001},
				"shut":        {unix.S_IFDIR | 0o500, 0, 0},
				"su":          {unix.S_IFREG | 0o4755, 0, 0},
				"etc/motd":    {unix.S_IFCHR, 0, 0},
			} {
				var st unix.Stat_t
				if err := unix.Lstat(filepath.Join(diffs[0], name), &st); err != nil {
					t.Error(err)
				}
				if uid, gid := test.owner(want.uid), test.owner(want.gid); st.Uid != uid || st.Gid != gid || st.Mode&^0o777 != want.mode&^0o777 ||
					want.mode&unix.S_IFMT != unix.S_IFCHR && st.Mode != want.mode {
					t.Errorf("%s: mode %o, owner %d:%d, want %o, %d:%d", name, st.Mode, st.Uid, st.Gid, want.mode, uid, gid)
				}
			}
			value := make([]byte, 64)
			if n, err := unix.Lgetxattr(filepath.Join(diffs[0], "opt"), "user.overlay.opaque", value); err != nil || string(value[:n]) != "y" {
				t.Errorf("opaque: %q, %v", value[:max(n, 0)], err)
			}
			if _, err := os.Lstat(filepath.Join(diffs[0], "dev/sda")); !os.IsNotExist(err) {
				t.Errorf("a device: %v", err)
			}
			if test.name != "alone" {
				if n, err := unix.Lgetxattr(filepath.Join(diffs[0], "ping"), "security.capability", value); err != nil || n == 0 {
					t.Errorf("capabilities: %v", err)
				}
				// An owner that the user does not have.
				asNobody(t, test.subuid, "refuse", root, packHeader(t, tar.Header{Name: "f", Uid: 70000}))
				asNobody(t, test.subuid, "refuse", root, pack(t, "f: x", "f: y"))
			}
			asNobody(t, test.subuid, "remove", root, nil)
			if left, err := filepath.Glob(filepath.Join(root, "images", layersDir, "*")); err != nil || len(left) != 0 {
				t.Errorf("left behind: %q, %v", left, err)
			}
		})
	}
}

// TestOtherRights has root use a store that a user has filled, and the other way round.
func TestStoreOfOtherRights(t *testing.T) {
	s := newStore(t)
	add(t, s, "a", threeLayers(t))
	s.user = true
	if _, _, err := s.Layers(context.Background(), "a", nil); err == nil || !strings.Contains(err.Error(), "store of your own") {
		t.Errorf("%v", err)
	}
}
