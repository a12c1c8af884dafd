package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"tandem/boot/initramfs"
	"tandem/internal/testenv"
)

// unpackFiles puts what a guest would find below / into a folder.
func unpackFiles(t *testing.T, files []initramfs.File) {
	for _, f := range files {
		if err := os.MkdirAll(filepath.Dir(f.Name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(f.Name, f.Data, os.FileMode(f.Mode)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestFio has each kind of job done on a file, by fio as it is in a guest: from a folder of its own, by way of the load.
func TestFio(t *testing.T) {
	testenv.Need(t, testenv.Fio)
	p := loadOverLo(t)
	path, err := exec.LookPath("fio")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	fio, files, err := carry(t.Context(), path, filepath.Join(dir, "fio"))
	if err != nil {
		t.Fatal(err)
	}
	unpackFiles(t, files)
	disk := filepath.Join(dir, "disk")
	if err := os.WriteFile(disk, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, j := range []fioJob{{"randread", "4k", 32}, {"randwrite", "4k", 1}, {"read", "256k", 8}} {
		n, err := j.read(fio, disk, requests)(p)
		if err != nil || n <= 0 {
			t.Errorf("%+v: %v requests a second, %v", j, n, err)
		}
	}
	if _, err := (fioJob{"randread", "4k", 1}).read(fio, filepath.Join(dir, "none", "disk"), requests)(p); err == nil {
		t.Error("a disk that is not there was read")
	}
}

// TestCarry has a carried program take all libraries from the folder that it was carried to.
func TestCarry(t *testing.T) {
	testenv.Need(t, testenv.Fio)
	path, err := exec.LookPath("fio")
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	p, files, err := carry(t.Context(), path, home)
	if err != nil {
		t.Fatal(err)
	}
	unpackFiles(t, files)
	argv := p.argv("--version")
	if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil || !strings.HasPrefix(string(out), "fio-") {
		t.Errorf("the carried program says %q, %v", out, err)
	}
	list, err := exec.Command(p.loader, "--library-path", p.libraries, "--list", p.binary).Output()
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(list), " => "+p.libraries+"/"); n != len(files)-2 {
		t.Errorf("%d libraries are taken from %s, want %d: %s", n, p.libraries, len(files)-2, list)
	}
}

func TestCarryRefusesAStaticProgram(t *testing.T) {
	testenv.Need(t, testenv.Busybox)
	path, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := carry(t.Context(), path, "/home"); err == nil || !strings.Contains(err.Error(), "PT_INTERP") {
		t.Errorf("carry %s: %v, want a word about PT_INTERP", path, err)
	}
}

// As fio 3.33 prints them, but for what nobody reads.
const (
	fioReads = `fio: some note
{
  "fio version" : "fio-3.33",
  "jobs" : [
    {
      "jobname" : "load",
      "error" : 0,
      "read" : { "io_bytes" : 28868608, "bw_bytes" : 28839768, "iops" : 7040.959041 },
      "write" : { "io_bytes" : 0, "bw_bytes" : 0, "iops" : 0.000000 }
    }
  ]
}
`
	fioWrites = `{"jobs" : [{"error" : 0, "read" : {"bw_bytes" : 0, "iops" : 0.0}, "write" : {"bw_bytes" : 4096, "iops" : 1.0}}]}`
)

func TestParseFio(t *testing.T) {
	for _, test := range []struct {
		name, out string
		want      fioRate
	}{
		{"reads", fioReads, fioRate{7040.959041, 28839768}},
		{"writes", fioWrites, fioRate{1, 4096}},
	} {
		if got, err := parseFio([]byte(test.out)); got != test.want || err != nil {
			t.Errorf("%s: %+v, %v, want %+v", test.name, got, err, test.want)
		}
	}
	for _, test := range []struct{ name, out, want string }{
		{"nothing", "", "EOF"},
		{"cut short", fioReads[:100], "EOF"},
		{"no job", `{"jobs" : []}`, "0 jobs"},
		{"a failed job", strings.Replace(fioReads, `"error" : 0`, `"error" : 5`, 1), "error is 5"},
		{"no request", `{"jobs" : [{"error" : 0}]}`, "nothing"},
	} {
		if got, err := parseFio([]byte(test.out)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %+v, %v, want %s", test.name, got, err, test.want)
		}
	}
}

func FuzzParseFio(f *testing.F) {
	f.Add([]byte(fioReads))
	f.Add([]byte(fioWrites))
	f.Fuzz(func(t *testing.T, out []byte) {
		if rate, err := parseFio(out); err == nil && (rate.Requests <= 0 || rate.Bytes <= 0) {
			t.Errorf("parseFio took %+v for a rate", rate)
		}
	})
}
