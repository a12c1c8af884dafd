package store

import (
	"archive/tar"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"tandem/internal/testenv"
)

// An archive is a package archive of the test's own, on this machine's disk, that the real apt and dpkg work on. So
// what apt does is what it does for users, and no network is needed.
type archive struct {
	t   *testing.T
	dir string
}

func newArchive(t *testing.T) *archive {
	t.Helper()
	testenv.Need(t, testenv.APT)
	a := &archive{t: t, dir: t.TempDir()}
	for _, d := range []string{"pool", "state/lists/partial", "cache/archives/partial", "etc/apt.conf.d", "etc/preferences.d"} {
		a.mkdir(d)
	}
	a.write("state/status", "")
	a.write("Packages", "")
	a.write("etc/sources.list", "deb [trusted=yes] file:"+a.dir+" ./\n")
	a.write("apt.conf", strings.ReplaceAll(`
Dir "@";
Dir::Etc "@/etc";
Dir::Etc::main "-";
Dir::Etc::parts "@/etc/apt.conf.d";
Dir::Etc::sourcelist "@/etc/sources.list";
Dir::Etc::sourceparts "-";
Dir::State "@/state";
Dir::State::status "@/state/status";
Dir::Cache "@/cache";
Dir::Log "@";
APT::Architecture "amd64";
APT::Architectures "amd64";
APT::Sandbox::User "root";
Acquire::Languages "none";
`, "@", a.dir))
	t.Setenv("APT_CONFIG", filepath.Join(a.dir, "apt.conf"))
	return a
}

func (a *archive) path(name string) string { return filepath.Join(a.dir, name) }

func (a *archive) mkdir(name string) {
	a.t.Helper()
	if err := os.MkdirAll(a.path(name), 0o755); err != nil {
		a.t.Fatal(err)
	}
}

func (a *archive) write(name, data string) {
	a.t.Helper()
	if err := os.WriteFile(a.path(name), []byte(data), 0o644); err != nil {
		a.t.Fatal(err)
	}
}

// add puts a package of these files into the archive, and gives its file. fields are more lines of its control file.
func (a *archive) add(name, version, fields string, files map[string]string) string {
	a.t.Helper()
	control := fmt.Sprintf("Package: %s\nVersion: %s\nArchitecture: amd64\nMaintainer: nobody <nobody@example.org>\n%sDescription: test\n", name, version, fields)
	deb := a.path(filepath.Join("pool", name+"_"+version+".deb"))
	buildDeb(a.t, deb, control, files)
	size, digest, err := digestFile(deb)
	if err != nil {
		a.t.Fatal(err)
	}
	index, err := os.ReadFile(a.path("Packages"))
	if err != nil {
		a.t.Fatal(err)
	}
	a.write("Packages", fmt.Sprintf("%s%sFilename: ./pool/%s\nSize: %d\nSHA256: %s\n\n", index, control, filepath.Base(deb), size, digest))
	return deb
}

// update is apt-get update.
func (a *archive) update() {
	a.t.Helper()
	if out, err := exec.Command("apt-get", "update").CombinedOutput(); err != nil {
		a.t.Fatalf("apt-get update: %v\n%s", err, out)
	}
}

// buildDeb makes a package with dpkg-deb.
func buildDeb(t *testing.T, deb, control string, files map[string]string) {
	t.Helper()
	dir := t.TempDir()
	all := map[string]string{"DEBIAN/control": control}
	for name, data := range files {
		all[name] = data
	}
	for name, data := range all {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("dpkg-deb", "-Zgzip", "--root-owner-group", "--build", dir, deb).CombinedOutput(); err != nil {
		t.Fatalf("dpkg-deb --build: %v\n%s", err, out)
	}
}

// kernelFiles is what a kernel's package holds, with no module in it that would have to be a real one.
func kernelFiles(release string) map[string]string {
	return map[string]string{
		"boot/vmlinuz-" + release:                               "image of " + release,
		"boot/config-" + release:                                "CONFIG_PVH=y\n",
		"boot/System.map-" + release:                            "ffffffffffffffff B The real System.map is in the linux-image-<version>-dbg package\n",
		"lib/modules/" + release + "/modules.order":             "",
		"lib/modules/" + release + "/modules.builtin":           "kernel/fs/ext4/ext4.ko\n",
		"usr/share/doc/linux-image-" + release + "/copyright":   "GPL-2\n",
		"usr/share/lintian/overrides/linux-image-" + release:    "nothing\n",
		"lib/modules/" + release + "/kernel/fs/notes/README.ko": "", // replaced by callers that index modules
	}
}

// withModules are kernelFiles with modules in place of the one that is none.
func withModules(release string, modules map[string][]byte) map[string]string {
	files := kernelFiles(release)
	delete(files, "lib/modules/"+release+"/kernel/fs/notes/README.ko")
	for name, data := range modules {
		files["lib/modules/"+release+"/"+name] = string(data)
	}
	return files
}

// leftovers tells what a store's folder holds beside kernels and its own two files.
func leftovers(t *testing.T, s *Store) []string {
	t.Helper()
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, e := range entries {
		if e.Name() == lockFile || e.Name() == defaultFile || e.Name()[0] != '.' {
			continue
		}
		left = append(left, e.Name())
	}
	return left
}

func newStore(t *testing.T) *Store {
	t.Helper()
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// tarOf makes a tar of these headers; a body that is shorter than the header says is cut there.
func tarOf(t testing.TB, entries ...tarEntry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := e.Header
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if h.Size == 0 && h.Typeflag == tar.TypeReg {
			h.Size = int64(len(e.body))
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(e.body)); err != nil {
			t.Fatal(err)
		}
		if int64(len(e.body)) < h.Size {
			return b.Bytes()
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

type tarEntry struct {
	tar.Header
	body string
}
