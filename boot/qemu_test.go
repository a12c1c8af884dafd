package boot

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tandem/boot/acpi"
	"tandem/boot/cpio"
	"tandem/internal/testenv"
)

// TestLinuxBoots boots a distribution's kernel from a plan, in every way that there is. The machine is QEMU's microvm,
// emulated (no KVM is needed), without its firmware, its loader and its ACPI tables: its memory is filled by Plan.Load,
// and its ROM sets the registers to Plan.Entry and nothing else. So this is what the monitor does, done by others.
func TestLinuxBoots(t *testing.T) {
	testenv.Need(t, testenv.QEMU, testenv.GuestKernel, testenv.Busybox)
	bz := openPath(t, storedKernel(t, guestPackage))
	elf := unpack(t, bz, "")
	cases := []struct {
		name     string
		kernel   *Kernel
		protocol Protocol
		end      string // how the guest's init ends it
		status   int    // isa-debug-exit's: twice what was written to the port, and one
		seeded   bool
	}{
		// SLP_TYP 5 and SLP_EN to the sleep control register: the FADT and \_S5 were understood.
		{"vmlinux", elf, Linux64, "poweroff", (5<<2|1<<5)<<1 | 1, true},
		// The reset value to the reset register.
		{"pvh", elf, PVH, "reboot", 1<<1 | 1, false},
		{"bzimage", bz, Linux64, "poweroff", (5<<2|1<<5)<<1 | 1, true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := microVM(t, c.kernel)
			s.Protocol = c.protocol
			s.Initrd = initrd(t, c.end)
			p := plan(t, s)
			log, status := runQEMU(t, entryROM(p.Entry), func(memory flatMemory) { load(t, p, memory) })
			if status != c.status {
				t.Errorf("QEMU ends with %d, want %d", status, c.status)
			}
			for _, want := range []string{
				"Command line: " + s.Cmdline,
				"ACPI: RSDP 0x00000000000E0000 000024 \\(v02 TANDEM\\)",
				"ACPI: Interpreter enabled",
				"smpboot: Allowing 2 CPUs",
				"IOAPIC\\[0\\]: .* GSI 0-23",
				"ECAM at \\[mem 0xe0000000-0xe00fffff\\]|MMCONFIG .*\\[mem 0xe0000000-0xe00fffff\\]",
				"PCI host bridge to bus 0000:00",
				"root bus resource \\[mem 0xc0000000-0xdfffffff window\\]",
				"ttyS0 at I/O 0x3f8 \\(irq = [0-9]+, base_baud = 115200\\) is a 16550A",
				"init: /sys/bus/acpi/devices/LNRO0005:00 /sys/bus/acpi/devices/LNRO0005:01",
				"init: PNP0501 at 0x3f8-0x3ff",
				"init: MemTotal: +2[0-9]{5} kB",
			} {
				if !regexp.MustCompile(want).MatchString(log) {
					t.Errorf("the guest's log has no %q", want)
				}
			}
			for _, bad := range []string{"ACPI.*(Error|Warning|BUG)", "Kernel panic", "BUG:", "e820: .* overlap"} {
				if line := regexp.MustCompile("(?m)^.*" + bad + ".*$").FindString(log); line != "" {
					t.Errorf("the guest's log has %q", line)
				}
			}
			if seeded := strings.Contains(log, "random: crng init done"); c.seeded && !seeded {
				t.Error("the guest's random number generator was not seeded")
			}
			if t.Failed() {
				t.Log(log)
			}
		})
	}
}

// microVM describes QEMU's microvm machine to its guest.
func microVM(t *testing.T, k *Kernel) Spec {
	t.Helper()
	tables, err := acpi.Build(acpi.Spec{
		GPA: 0xe0000, Limit: 0x10000, CPUs: 2, LocalAPIC: 0xfee0_0000, IOAPIC: 0xfec0_0000,
		SleepControl: 0x600, SleepStatus: 0x601, SleepTypeS5: 5, Reset: 0x602, ResetValue: 1,
		PCI: &acpi.PCI{
			ECAM: 0xe000_0000, Memory: []acpi.Window{{Base: 0xc000_0000, Size: 0x2000_0000}}, INTx: [4]uint32{12, 13, 14, 15},
		},
		VirtioMMIO: []acpi.VirtioMMIO{
			{Registers: acpi.Window{Base: 0xfeb0_0000, Size: 512}, Interrupt: acpi.Interrupt{GSI: 5}},
			{Registers: acpi.Window{Base: 0xfeb0_0200, Size: 512}, Interrupt: acpi.Interrupt{GSI: 6}},
		},
		Serial: []acpi.Serial{{Port: 0x3f8, Interrupt: acpi.Interrupt{GSI: 4}}},
		RTC:    &acpi.RTC{Port: 0x70},
	})
	if err != nil {
		t.Fatal(err)
	}
	return Spec{
		// Without KVM's clock nothing tells Linux the TSC's frequency, which QEMU has at 1 GHz.
		Kernel: k, Cmdline: "console=ttyS0 panic=-1 reboot=panic_warm tsc_early_khz=1000000", Memory: ram(256 * mib), ACPI: tables,
		Reserved: []Range{{0xe000_0000, mib}}, Seed: pattern(32),
	}
}

// initrd is busybox in one archive, from a file, and a script in a second one, from bytes.
func initrd(t *testing.T, end string) []Part {
	t.Helper()
	path, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal(err)
	}
	busybox, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var base, run bytes.Buffer
	archive := cpio.NewWriter(&base)
	err = errors.Join(
		archive.Bytes("bin/busybox", 0o755, busybox), archive.Symlink("bin/sh", "busybox"), archive.Dir("proc", 0o755),
		archive.Dir("sys", 0o755), archive.Dir("dev", 0o755), archive.Device("dev/console", unix.S_IFCHR|0o600, 5, 1),
		archive.Close(),
	)
	if err != nil {
		t.Fatal(err)
	}
	script := `#!/bin/sh
busybox mount -t proc proc /proc
busybox mount -t sysfs sys /sys
echo init: /sys/bus/acpi/devices/LNRO0005:*
for d in /sys/bus/pnp/devices/*; do
	read id < $d/id
	echo init: $id at $(busybox sed -n 's/^io //p' $d/resources)
done
echo init: $(busybox grep MemTotal /proc/meminfo)
busybox ` + end + ` -f
`
	archive = cpio.NewWriter(&run)
	if err := errors.Join(archive.Bytes("init", 0o755, []byte(script)), archive.Close()); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(write(t, base.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	part, err := FilePart("base", file, true)
	if err != nil {
		t.Fatal(err)
	}
	return []Part{part, BytesPart("run", run.Bytes())}
}

// TestBIOSReset runs the code at the reset vector in real mode, as a guest does that jumps there. (At 0x7c00, as QEMU has
// its ROM at that other place.)
func TestBIOSReset(t *testing.T) {
	testenv.Need(t, testenv.QEMU)
	rom := make([]byte, romSize)
	copy(rom[romReset:], []byte{0xea, 0x00, 0x7c, 0, 0}) // jmp 0:0x7c00
	_, status := runQEMU(t, rom, func(memory flatMemory) { copy(memory[0x7c00:], biosReset(PortWrite{0x602, 0x21})) })
	if want := 0x21<<1 | 1; status != want {
		t.Errorf("QEMU ends with %d, want %d", status, want)
	}
}

// runQEMU runs a machine with the ROM and with what fill puts into memory, and returns what came over the serial port,
// and QEMU's exit status.
func runQEMU(t *testing.T, rom []byte, fill func(flatMemory)) (log string, status int) {
	t.Helper()
	dir := t.TempDir()
	memoryPath, romPath := filepath.Join(dir, "memory"), filepath.Join(dir, "rom")
	fillMemory(t, memoryPath, fill)
	if err := os.WriteFile(romPath, rom, 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64",
		"-M", "microvm,acpi=off,pcie=on,x-option-roms=off,auto-kernel-cmdline=off,accel=tcg,memory-backend=ram",
		"-object", "memory-backend-file,id=ram,share=on,size=256M,mem-path="+memoryPath, "-m", "256M", "-smp", "2", "-cpu", "max",
		"-bios", romPath, "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-serial", "stdio",
		"-device", "isa-debug-exit,iobase=0x600,iosize=1", "-device", "isa-debug-exit,iobase=0x602,iosize=1")
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		t.Fatalf("no end after two minutes:\n%s", out)
	}
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// fillMemory makes the file that is the machine's memory.
func fillMemory(t *testing.T, path string, fill func(flatMemory)) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(256 * mib); err != nil {
		t.Fatal(err)
	}
	memory, err := unix.Mmap(int(f.Fd()), 0, 256*mib, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Munmap(memory); err != nil {
			t.Error(err)
		}
	}()
	fill(memory)
}

// A ROM is at the end of the first 4 GiB, and has the processor's first instruction 16 bytes before its end.
const (
	romSize  = 64 << 10
	romReset = romSize - 16
)

// entryROM is a ROM that sets up the state that e asks for, and nothing else. It is 16-bit code, since the processor
// starts in real mode. (TR is left out: LTR wants a task that isn't busy.)
func entryROM(e Entry) []byte {
	const gdtPointer = 0x1000
	const operand32 = 0x66 // a prefix: 32-bit operands in 16-bit code
	imm32 := func(opcode byte, v uint64) []byte { return le.AppendUint32([]byte{operand32, opcode}, uint32(v)) }
	const eax, ecx, ebx, esp, esi = 0xb8, 0xb9, 0xbb, 0xbc, 0xbe // mov reg, imm32
	code := bytes.Join([][]byte{
		{0xfa}, // cli
		{0x2e, operand32, 0x0f, 0x01, 0x16, gdtPointer & 0xff, gdtPointer >> 8}, // lgdt cs:[gdtPointer]
		imm32(eax, e.CR4),
		{0x0f, 0x22, 0xe0}, // mov cr4, eax
		imm32(eax, e.CR3),
		{0x0f, 0x22, 0xd8},                                  // mov cr3, eax
		imm32(ecx, 0xc000_0080), imm32(eax, e.EFER&eferLME), // EFER; LMA follows from LME and paging
		{operand32, 0x31, 0xd2, 0x0f, 0x30}, // xor edx, edx; wrmsr
		imm32(eax, e.CR0),
		// mov cr0, eax
		{0x0f, 0x22, 0xc0},
		// mov ax, data; mov ds/es/fs/gs/ss, ax
		{0xb8, byte(e.Data.Index), 0},
		{0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xe0, 0x8e, 0xe8, 0x8e, 0xd0},
		imm32(esp, e.RSP), imm32(ebx, e.RBX), imm32(esi, e.RSI),
		imm32(0xea, e.RIP), le.AppendUint16(nil, e.Code.Index), // jmp far code:rip
	}, nil)
	rom := make([]byte, romSize)
	copy(rom, code)
	le.PutUint16(rom[gdtPointer:], e.GDTLimit)
	le.PutUint32(rom[gdtPointer+2:], uint32(e.GDT))
	copy(rom[romReset:], []byte{0xe9, 0x0d, 0x00}) // jmp to the ROM's start: 0xfff3 + 0x000d wraps to 0
	return rom
}
