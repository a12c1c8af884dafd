package main

import (
	"debug/elf"
	"os"
	"strings"
	"testing"
)

func TestStampKernelIsAnELFWithAPVHEntry(t *testing.T) {
	path, err := writeStampKernel(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	file, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if file.Entry != stampGPA || len(file.Progs) != 2 {
		t.Fatalf("entry %#x, %d segments, want %#x and 2", file.Entry, len(file.Progs), stampGPA)
	}
	code := make([]byte, len(stampCode))
	if _, err := file.Progs[1].ReadAt(code, 0); err != nil || string(code) != string(stampCode) {
		t.Errorf("loaded segment holds %x, %v, want %x", code, err, stampCode)
	}
	note := make([]byte, file.Progs[0].Filesz)
	if _, err := file.Progs[0].ReadAt(note, 0); err != nil || string(note[12:16]) != "Xen\x00" {
		t.Errorf("note is %x, %v, want Xen's", note, err)
	}
}

func TestGuestMappings(t *testing.T) {
	at := func(start, size uint64) mapping { return mapping{start: start, end: start + size} }
	for _, test := range []struct {
		name     string
		mappings []mapping
		want     []int
	}{
		{"whole", []mapping{at(0, 10), at(20, 100), at(130, 5)}, []int{1}},
		{"split in three", []mapping{at(0, 10), at(20, 40), at(60, 1), at(61, 59), at(130, 5)}, []int{1, 2, 3}},
		{"neighbours on both sides", []mapping{at(10, 10), at(20, 40), at(60, 60), at(120, 7)}, []int{1, 2}},
		{"none as large", []mapping{at(0, 10), at(20, 99)}, nil},
	} {
		got := guestMappings(test.mappings, 100)
		if len(got) != len(test.want) {
			t.Errorf("%s: found %v, want %v", test.name, got, test.want)
		}
		for _, i := range test.want {
			if !got[i] {
				t.Errorf("%s: found %v, want %v", test.name, got, test.want)
			}
		}
	}
}

func TestReadMappingsOfThisProcess(t *testing.T) {
	mappings, err := readMappings(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	sum := uint64(0)
	for _, m := range mappings {
		if m.end <= m.start {
			t.Errorf("mapping from %#x to %#x", m.start, m.end)
		}
		sum += m.anonymous
	}
	if sum == 0 {
		t.Error("a Go process without anonymous memory")
	}
}

func TestSpread(t *testing.T) {
	for _, test := range []struct {
		values           []float64
		least, mid, most float64
	}{
		{[]float64{3, 1, 2}, 1, 2, 3},
		{[]float64{4, 1, 2, 3}, 1, 2.5, 4},
		{[]float64{7}, 7, 7, 7},
	} {
		least, mid, most := spread(test.values)
		if least != test.least || mid != test.mid || most != test.most {
			t.Errorf("spread(%v) = %v, %v, %v", test.values, least, mid, most)
		}
	}
}

func TestParseBenchmarks(t *testing.T) {
	rows := parseBenchmarks([]byte(strings.Join([]string{
		"goos: linux",
		"BenchmarkPIOExit/go-2  1000  8000 ns/op  0 B/op",
		"BenchmarkPIOExit/C-2   1000  10000 ns/op",
		"BenchmarkPIOExit/go-2  1000  9000 ns/op",
		"PASS",
	}, "\n")))
	if len(rows) != 2 || rows[0].Name != "go" || rows[0].Median != 8.5 || rows[0].Runs != 2 || rows[1].Median != 10 {
		t.Errorf("got %+v", rows)
	}
}

func TestReadUntil(t *testing.T) {
	seen, err := readUntil(strings.NewReader("noise and the mark"), "the mark")
	if err != nil || seen != "noise and the mark" {
		t.Errorf("got %q, %v", seen, err)
	}
	if _, err := readUntil(strings.NewReader("noise"), "the mark"); err == nil {
		t.Error("no error at the end of the output")
	}
}
