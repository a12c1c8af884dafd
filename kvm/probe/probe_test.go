package probe

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"tandem/internal/testenv"
	"tandem/kvm"
)

func TestMain(m *testing.M) { testenv.Main(m) }

func TestRunFindsWhatThisHostHas(t *testing.T) {
	testenv.Need(t, testenv.KVM)
	r := Run()
	if !r.Present || r.Problem != "" {
		t.Fatalf("present %v, problem %q", r.Present, r.Problem)
	}
	if r.APIVersion != kvm.APIVersion {
		t.Errorf("API version %d", r.APIVersion)
	}
	// Slower than any KVM, faster than any CPU.
	for name, rate := range map[string]float64{"kernel": r.Speed.Kernel, "user": r.Speed.User} {
		if rate < 1e4 || rate > 1e11 {
			t.Errorf("%s mode runs %g instructions a second", name, rate)
		}
	}
	if len(r.Instructions) != len(instructions) {
		t.Errorf("%d instructions tried, want %d", len(r.Instructions), len(instructions))
	}
	for _, i := range r.Instructions {
		if i.Offered && !i.Works && i.Why == "" {
			t.Errorf("%s does not work, for no reason", i.Name)
		}
	}
	userMemory := func(c Capability) bool { return c.Name == "KVM_CAP_USER_MEMORY" }
	if !slices.ContainsFunc(r.Capabilities, userMemory) {
		t.Errorf("no KVM_CAP_USER_MEMORY in %v", r.Capabilities)
	}
	if r.Linux != (r.Because == "") {
		t.Errorf("Linux %v, because %q", r.Linux, r.Because)
	}
}

// TestInterpretedKernelModeIsSeen is for hosts whose KVM is known to
// interpret; elsewhere both modes run alike.
func TestInterpretedKernelModeIsSeen(t *testing.T) {
	testenv.Need(t, testenv.KVM)
	r := Run()
	slow := testenv.KVMLinux.Missing() != nil
	if r.Speed.KernelInterpreted() != slow {
		t.Errorf("kernel mode interpreted: %v at %g/s, user mode %g/s; testenv finds it too slow for Linux: %v",
			r.Speed.KernelInterpreted(), r.Speed.Kernel, r.Speed.User, slow)
	}
	if q := Quick(); q.Linux == slow {
		t.Errorf("Quick() = %+v, testenv finds it too slow for Linux: %v", q, slow)
	}
}

func TestQuickAgreesWithRun(t *testing.T) {
	testenv.Need(t, testenv.KVM)
	q, r := Quick(), Run()
	if ratio := q.Rate / r.Speed.Kernel; ratio < 0.2 || ratio > 5 {
		t.Errorf("Quick measured %g instructions a second, Run %g", q.Rate, r.Speed.Kernel)
	}
}

// TestGuestThatCannotBeMade must clean up what there is of it.
func TestGuestThatCannotBeMade(t *testing.T) {
	testenv.Need(t, testenv.KVM)
	sys, err := kvm.Open()
	if err != nil {
		t.Fatal(err)
	}
	if err := sys.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := newGuest(sys); !errors.Is(err, kvm.ErrClosed) {
		t.Errorf("newGuest = %v, want ErrClosed", err)
	}
}

func TestJudge(t *testing.T) {
	fast := Speed{Kernel: 3e9, User: 3e9}
	for _, test := range []struct {
		name   string
		report Report
		want   string // part of Because
	}{
		{"no device", Report{Problem: "open /dev/kvm: no such file or directory"}, "no such file"},
		{"fast", Report{Present: true, Speed: fast}, ""},
		{"interpreted", Report{Present: true, Speed: Speed{Kernel: 2e6, User: 3e9}}, "2.0 million"},
		{"just too slow", Report{Present: true, Speed: Speed{Kernel: MinLinuxRate - 1e6}}, "19.0 million"},
		{"just fast enough", Report{Present: true, Speed: Speed{Kernel: MinLinuxRate}}, ""},
		{"an instruction fails", Report{Present: true, Speed: fast, Instructions: []Instruction{
			{Name: "FXSAVE", Offered: true, Works: true}, {Name: "XSAVE", Offered: true, Why: "SHUTDOWN"},
		}}, "XSAVE fails in guest kernel mode: SHUTDOWN"},
		{"one that is not offered", Report{Present: true, Speed: fast, Instructions: []Instruction{
			{Name: "XSAVE"},
		}}, ""},
	} {
		r := test.report
		r.judge()
		if r.Linux != (test.want == "") || !strings.Contains(r.Because, test.want) {
			t.Errorf("%s: Linux %v because %q, want %q", test.name, r.Linux, r.Because, test.want)
		}
	}
}

func TestVendor(t *testing.T) {
	for _, test := range []struct {
		modules      []string
		name, module string
	}{
		{[]string{"kvm", "kvm_intel"}, VMX, "kvm_intel"},
		{[]string{"kvm", "kvm_amd"}, SVM, "kvm_amd"},
		{[]string{"kvm", "kvm_pvm"}, Software, "kvm_pvm"},
		{[]string{"kvm"}, Software, ""},
	} {
		dir := t.TempDir()
		for _, m := range test.modules {
			if err := os.Mkdir(filepath.Join(dir, m), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if name, module := vendor(dir); name != test.name || module != test.module {
			t.Errorf("vendor(%v) = %q, %q, want %q, %q", test.modules, name, module, test.name, test.module)
		}
	}
}

func sample() *Report {
	r := &Report{
		Present: true, APIVersion: 12, Vendor: Software, Module: "kvm_pvm",
		Speed: Speed{Kernel: 2.5e6, User: 5.8e9},
		Instructions: []Instruction{
			{Name: "FXSAVE", Offered: true, Works: true},
			{Name: "XSAVE", Offered: true, Why: "INTERNAL_ERROR suberror 1"},
			{Name: "CMPXCHG16B"},
		},
		Capabilities: []Capability{{"KVM_CAP_IRQCHIP", 1}, {"KVM_CAP_NR_MEMSLOTS", 32764}},
		Devices:      []Device{{Path: "/dev/vhost-net", Present: true}, {Path: "/dev/vhost-vsock", Why: "no such file or directory"}},
	}
	r.judge()
	return r
}

func TestText(t *testing.T) {
	const want = `kvm                present, API version 12
behind it          software (kvm_pvm)
guest kernel mode  2.5 million instructions/s, interpreted
guest user mode    5.8 billion instructions/s
  FXSAVE           works
  XSAVE            fails: INTERNAL_ERROR suberror 1
  CMPXCHG16B       not offered in CPUID
/dev/vhost-net     present
/dev/vhost-vsock   missing: no such file or directory
runs Linux         no: guest kernel mode runs 2.5 million instructions/s, Linux needs 20.0 million instructions/s

capability   value
IRQCHIP      1
NR_MEMSLOTS  32764
`
	var got bytes.Buffer
	if err := sample().WriteText(&got); err != nil {
		t.Fatal(err)
	}
	if got.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &got, want)
	}
	got.Reset()
	missing := &Report{Problem: "open /dev/kvm: no such file or directory"}
	missing.judge()
	if err := missing.WriteText(&got); err != nil {
		t.Fatal(err)
	}
	const wantMissing = `kvm         not usable: open /dev/kvm: no such file or directory
runs Linux  no: open /dev/kvm: no such file or directory
`
	if got.String() != wantMissing {
		t.Errorf("got\n%s\nwant\n%s", &got, wantMissing)
	}
}

func TestJSONHoldsTheWholeReport(t *testing.T) {
	want := sample()
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got Report
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(&got, want) {
		t.Errorf("got %+v, want %+v", got, *want)
	}
}

func BenchmarkQuick(b *testing.B) {
	testenv.Need(b, testenv.KVM)
	for b.Loop() {
		Quick()
	}
}
