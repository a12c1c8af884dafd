package acpi

import (
	"bytes"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"tandem/internal/testenv"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestDisassembly has ACPICA's own compiler read each table back. iasl is the reference implementation that Linux has
// its interpreter from, so what it reads without complaint, the guest does.
func TestDisassembly(t *testing.T) {
	testenv.Need(t, testenv.IASL)
	tables := build(t, machine())
	for _, e := range tables.Index[1:] { // the RSDP is no table of its own to iasl
		t.Run(e.Signature, func(t *testing.T) {
			text := disassemble(t, e.Signature, tables.Table(e.Signature))
			golden := filepath.Join("testdata", e.Signature+".dsl")
			if *update {
				if err := os.WriteFile(golden, text, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(text, want) {
				t.Errorf("%s differs from %s (go test -update writes it):\n%s", e.Signature, golden, text)
			}
		})
	}
}

// TestRecompile compiles what iasl disassembled: its compiler checks much that its disassembler takes as it is, such
// as the names, types and arguments that the specification prescribes for each object.
func TestRecompile(t *testing.T) {
	testenv.Need(t, testenv.IASL)
	many := machine()
	for i := range uint64(200) {
		w := Window{0xfeb0_0000 + i<<12, 1 << 12}
		many.VirtioMMIO = append(many.VirtioMMIO, VirtioMMIO{Registers: w, Interrupt: Interrupt{GSI: 23}})
	}
	bare := machine()
	bare.PCI, bare.VirtioMMIO, bare.Serial, bare.RTC = nil, nil, nil, nil
	for name, s := range map[string]Spec{"full": machine(), "many": many, "bare": bare} {
		t.Run(name, func(t *testing.T) {
			original := build(t, s).Table("DSDT")
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "dsdt.aml"), original, 0o644); err != nil {
				t.Fatal(err)
			}
			run(t, dir, "iasl", "-d", "dsdt.aml")
			report := run(t, dir, "iasl", "-oa", "-p", "again", "dsdt.dsl") // -oa: keep names as they are written
			if !strings.Contains(report, "0 Errors, 0 Warnings") {
				t.Errorf("iasl on the DSDT's text:\n%s", report)
			}
			again, err := os.ReadFile(filepath.Join(dir, "again.aml"))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(again[headerSize:], original[headerSize:]) {
				t.Errorf("the DSDT compiled by iasl has %d bytes, ours %d, and they differ", len(again), len(original))
			}
		})
	}
}

// disassemble returns iasl's text for a table without the comment that names files, dates and iasl's version.
func disassemble(t *testing.T, name string, table []byte) []byte {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name+".aml"), table, 0o644); err != nil {
		t.Fatal(err)
	}
	report := run(t, dir, "iasl", "-d", name+".aml")
	if regexp.MustCompile(`(?i)error|warning|invalid|checksum`).MatchString(report) {
		t.Errorf("iasl on %s:\n%s", name, report)
	}
	text, err := os.ReadFile(filepath.Join(dir, name+".dsl"))
	if err != nil {
		t.Fatal(err)
	}
	if bad := regexp.MustCompile(`(?im)^.*(error|warning|invalid|incorrect checksum).*$`).Find(text); bad != nil {
		t.Errorf("iasl on %s: %s", name, bad)
	}
	text = regexp.MustCompile(`(?s)^/\*.*?\*/\n`).ReplaceAll(text, nil)
	if raw := bytes.Index(text, []byte("\nRaw Table Data")); raw >= 0 {
		text = text[:raw] // the same bytes in hexadecimal
	}
	return text
}

func run(t *testing.T, dir string, command ...string) string {
	t.Helper()
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(command, " "), err, out)
	}
	return string(out)
}
