package kvm

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"tandem/internal/testenv"
)

// header asks the C compiler for the values of expressions over linux/kvm.h.
type header struct{ program bytes.Buffer }

func newHeader() *header {
	h := &header{}
	h.program.WriteString("#include <stddef.h>\n#include <stdio.h>\n#include <linux/kvm.h>\n" +
		"#define SHOW(name, value) printf(\"%s\\t%lld\\n\", name, (long long)(value))\n" +
		"int main(void) {\n")
	return h
}

func (h *header) ask(name, expression string) {
	fmt.Fprintf(&h.program, "SHOW(%q, %s);\n", name, expression)
}

// askIfDefined is for what a macro named like the expression stands for.
func (h *header) askIfDefined(macro string) {
	fmt.Fprintf(&h.program, "#ifdef %s\nSHOW(%q, %s);\n#endif\n", macro, macro, macro)
}

func (h *header) answers(t *testing.T) map[string]int64 {
	t.Helper()
	testenv.Need(t, testenv.GCC)
	h.program.WriteString("return 0;\n}\n")
	dir := t.TempDir()
	source, binary := filepath.Join(dir, "abi.c"), filepath.Join(dir, "abi")
	if err := os.WriteFile(source, h.program.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("gcc", "-o", binary, source).CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v\n%s", err, out)
	}
	out, err := exec.Command(binary).Output()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]int64{}
	for s := bufio.NewScanner(bytes.NewReader(out)); s.Scan(); {
		name, text, _ := strings.Cut(s.Text(), "\t")
		values[name], err = strconv.ParseInt(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
	}
	return values
}

func TestRequestNumbersAreTheKernels(t *testing.T) {
	h := newHeader()
	for _, name := range requestNames {
		h.ask(name, name)
	}
	values := h.answers(t)
	for r, name := range requestNames {
		if want := values[name]; int64(r) != want {
			t.Errorf("%s = %#x, want %#x", name, uint32(r), want)
		}
	}
}

func TestCapabilityNumbersAreTheKernels(t *testing.T) {
	h := newHeader()
	for _, name := range capabilityNames {
		h.askIfDefined(name)
	}
	values := h.answers(t)
	for c, name := range capabilityNames {
		want, known := values[name]
		if !known && c <= CapDirtyLogRingAcqRel {
			t.Errorf("%s is not in linux/kvm.h, and not newer than Linux 6.1", name)
		}
		if known && int64(c) != want {
			t.Errorf("%s = %d, want %d", name, uint32(c), want)
		}
	}
}

func TestExitReasonsAreTheKernels(t *testing.T) {
	h := newHeader()
	for _, name := range reasonNames {
		h.askIfDefined("KVM_EXIT_" + name)
	}
	values := h.answers(t)
	for r, name := range reasonNames {
		want, known := values["KVM_EXIT_"+name]
		if !known && r <= ReasonNotify {
			t.Errorf("KVM_EXIT_%s is not in linux/kvm.h, and not newer than Linux 6.1", name)
		}
		if known && int64(r) != want {
			t.Errorf("KVM_EXIT_%s = %d, want %d", name, uint32(r), want)
		}
	}
}

func TestConstantsAreTheKernels(t *testing.T) {
	constants := map[string]int64{
		"KVM_API_VERSION":                                     APIVersion,
		"KVM_MEM_LOG_DIRTY_PAGES":                             int64(MemLogDirtyPages),
		"KVM_MEM_READONLY":                                    int64(MemReadOnly),
		"KVM_CLOCK_TSC_STABLE":                                ClockTSCStable,
		"KVM_CLOCK_REALTIME":                                  ClockRealtime,
		"KVM_CLOCK_HOST_TSC":                                  ClockHostTSC,
		"KVM_VCPUEVENT_VALID_NMI_PENDING":                     EventsNMIPending,
		"KVM_VCPUEVENT_VALID_SIPI_VECTOR":                     EventsSIPIVector,
		"KVM_VCPUEVENT_VALID_SHADOW":                          EventsShadow,
		"KVM_VCPUEVENT_VALID_SMM":                             EventsSMM,
		"KVM_VCPUEVENT_VALID_PAYLOAD":                         EventsPayload,
		"KVM_VCPUEVENT_VALID_TRIPLE_FAULT":                    EventsTripleFault,
		"KVM_CPUID_FLAG_SIGNIFCANT_INDEX":                     CPUIDSignificantIndex,
		"KVM_IRQCHIP_PIC_MASTER":                              ChipPICMaster,
		"KVM_IRQCHIP_PIC_SLAVE":                               ChipPICSlave,
		"KVM_IRQCHIP_IOAPIC":                                  ChipIOAPIC,
		"KVM_MP_STATE_RUNNABLE":                               int64(MPRunnable),
		"KVM_MP_STATE_UNINITIALIZED":                          int64(MPUninitialized),
		"KVM_MP_STATE_INIT_RECEIVED":                          int64(MPInitReceived),
		"KVM_MP_STATE_HALTED":                                 int64(MPHalted),
		"KVM_MP_STATE_SIPI_RECEIVED":                          int64(MPSIPIReceived),
		"KVM_IRQ_ROUTING_IRQCHIP":                             int64(RouteToChip),
		"KVM_IRQ_ROUTING_MSI":                                 int64(RouteToMSI),
		"KVM_IRQFD_FLAG_DEASSIGN":                             irqFDDeassign,
		"KVM_IRQFD_FLAG_RESAMPLE":                             irqFDResample,
		"KVM_IOEVENTFD_FLAG_DATAMATCH":                        ioEventFDDataMatch,
		"KVM_IOEVENTFD_FLAG_PIO":                              ioEventFDPIO,
		"KVM_IOEVENTFD_FLAG_DEASSIGN":                         ioEventFDDeassign,
		"KVM_PIT_SPEAKER_DUMMY":                               pitSpeakerDummy,
		"KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE":                 manualProtectEnable,
		"KVM_EXIT_IO_OUT":                                     ioOut,
		"KVM_GUESTDBG_ENABLE":                                 int64(DebugEnable),
		"KVM_GUESTDBG_SINGLESTEP":                             int64(DebugSingleStep),
		"KVM_GUESTDBG_USE_SW_BP":                              int64(DebugUseSWBP),
		"KVM_GUESTDBG_USE_HW_BP":                              int64(DebugUseHWBP),
		"KVM_GUESTDBG_INJECT_DB":                              int64(DebugInjectDB),
		"KVM_GUESTDBG_INJECT_BP":                              int64(DebugInjectBP),
		"KVM_GUESTDBG_BLOCKIRQ":                               int64(DebugBlockIRQ),
		"KVM_INTERNAL_ERROR_EMULATION":                        int64(SuberrorEmulation),
		"KVM_INTERNAL_ERROR_SIMUL_EX":                         int64(SuberrorSimulEx),
		"KVM_INTERNAL_ERROR_DELIVERY_EV":                      int64(SuberrorDeliveryEv),
		"KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON":           int64(SuberrorUnexpectedExitReason),
		"KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES": insnBytesValid,
		"KVM_SYSTEM_EVENT_SHUTDOWN":                           int64(SystemEventShutdown),
		"KVM_SYSTEM_EVENT_RESET":                              int64(SystemEventReset),
		"KVM_SYSTEM_EVENT_CRASH":                              int64(SystemEventCrash),
		"KVM_SYSTEM_EVENT_WAKEUP":                             int64(SystemEventWakeup),
		"KVM_SYSTEM_EVENT_SUSPEND":                            int64(SystemEventSuspend),
		"KVM_SYSTEM_EVENT_SEV_TERM":                           int64(SystemEventSEVTerm),
		"sizeof(struct kvm_cpuid2)":                           cpuidHeader,
		"sizeof(struct kvm_cpuid_entry2)":                     cpuidEntrySize,
		"sizeof(struct kvm_msrs)":                             msrsHeader,
		"sizeof(struct kvm_msr_entry)":                        msrEntrySize,
		"sizeof(struct kvm_msr_list)":                         msrListWord,
		"sizeof(struct kvm_irq_routing)":                      routingHeader,
		"sizeof(struct kvm_irq_routing_entry)":                routeSize,
		"sizeof(struct kvm_xsave)":                            xsaveSize,
		"sizeof(((struct kvm_run *)0)->padding)":              int64(len(runPage{}.Exit)),
		"offsetof(struct kvm_run, kvm_valid_regs)":            int64(runUnionEnd),
	}
	h := newHeader()
	for name := range constants {
		h.ask(name, name)
	}
	values := h.answers(t)
	for name, got := range constants {
		if got != values[name] {
			t.Errorf("%s = %#x, want %#x", name, got, values[name])
		}
	}
}

// layout pairs a Go type with the kernel's, and its named fields, in order,
// with the kernel's members.
type layout struct {
	goType  reflect.Type
	cType   string
	members string
}

// exitOf is the anonymous struct for an exit in kvm_run's union.
func exitOf(name string) string { return "__typeof__(((struct kvm_run *)0)->" + name + ")" }

var layouts = []layout{
	{reflect.TypeFor[Regs](), "struct kvm_regs", "rax rbx rcx rdx rsi rdi rsp rbp r8 r9 r10 r11 r12 r13 r14 r15 rip rflags"},
	{reflect.TypeFor[Segment](), "struct kvm_segment", "base limit selector type present dpl db s l g avl unusable"},
	{reflect.TypeFor[Descriptor](), "struct kvm_dtable", "base limit"},
	{reflect.TypeFor[Sregs](), "struct kvm_sregs", "cs ds es fs gs ss tr ldt gdt idt cr0 cr2 cr3 cr4 cr8 efer apic_base interrupt_bitmap"},
	{reflect.TypeFor[Sregs2](), "struct kvm_sregs2", "cs ds es fs gs ss tr ldt gdt idt cr0 cr2 cr3 cr4 cr8 efer apic_base flags pdptrs"},
	{reflect.TypeFor[DebugRegs](), "struct kvm_debugregs", "db dr6 dr7 flags"},
	{reflect.TypeFor[XCR](), "struct kvm_xcr", "xcr value"},
	{reflect.TypeFor[XCRS](), "struct kvm_xcrs", "nr_xcrs flags xcrs"},
	{reflect.TypeFor[VCPUEvents](), "struct kvm_vcpu_events", "exception interrupt nmi sipi_vector flags smi triple_fault exception_has_payload exception_payload"},
	{reflect.TypeFor[LAPIC](), "struct kvm_lapic_state", "regs"},
	{reflect.TypeFor[CPUIDEntry](), "struct kvm_cpuid_entry2", "function index flags eax ebx ecx edx padding"},
	{reflect.TypeFor[MSREntry](), "struct kvm_msr_entry", "index reserved data"},
	{reflect.TypeFor[IRQChip](), "struct kvm_irqchip", "chip_id chip"},
	{reflect.TypeFor[PICState](), "struct kvm_pic_state", "last_irr irr imr isr priority_add irq_base read_reg_select poll special_mask init_state auto_eoi rotate_on_auto_eoi special_fully_nested_mode init4 elcr elcr_mask"},
	{reflect.TypeFor[PITState](), "struct kvm_pit_state2", "channels flags"},
	{reflect.TypeFor[ClockData](), "struct kvm_clock_data", "clock flags realtime host_tsc"},
	{reflect.TypeFor[Translated](), "struct kvm_translation", "linear_address physical_address valid writeable usermode"},
	{reflect.TypeFor[MPState](), "struct kvm_mp_state", ""},
	{reflect.TypeFor[FPU](), "struct kvm_fpu", "fpr fcw fsw ftwx last_opcode last_ip last_dp xmm mxcsr"},
	{reflect.TypeFor[enableCap](), "struct kvm_enable_cap", "cap flags args"},
	{reflect.TypeFor[userspaceMemoryRegion](), "struct kvm_userspace_memory_region", "slot flags guest_phys_addr memory_size userspace_addr"},
	{reflect.TypeFor[dirtyLog](), "struct kvm_dirty_log", "slot dirty_bitmap"},
	{reflect.TypeFor[clearDirtyLog](), "struct kvm_clear_dirty_log", "slot num_pages first_page dirty_bitmap"},
	{reflect.TypeFor[pitConfig](), "struct kvm_pit_config", "flags"},
	{reflect.TypeFor[irqLevel](), "struct kvm_irq_level", "irq level"},
	{reflect.TypeFor[msi](), "struct kvm_msi", "address_lo address_hi data flags devid"},
	{reflect.TypeFor[Route](), "struct kvm_irq_routing_entry", "gsi type flags u"},
	{reflect.TypeFor[irqFD](), "struct kvm_irqfd", "fd gsi flags resamplefd"},
	{reflect.TypeFor[ioEventFD](), "struct kvm_ioeventfd", "datamatch addr len fd flags"},
	{reflect.TypeFor[GuestDebug](), "struct kvm_guest_debug", "control arch"},
	{reflect.TypeFor[runIO](), exitOf("io"), "direction size port count data_offset"},
	{reflect.TypeFor[runMMIO](), exitOf("mmio"), "phys_addr data len is_write"},
	{reflect.TypeFor[runFailEntry](), exitOf("fail_entry"), "hardware_entry_failure_reason cpu"},
	{reflect.TypeFor[runInternal](), exitOf("internal"), "suberror ndata data"},
	{reflect.TypeFor[runEmulationFailure](), exitOf("emulation_failure"), "suberror ndata flags insn_size insn_bytes"},
	{reflect.TypeFor[runSystemEvent](), exitOf("system_event"), "type ndata data"},
	{reflect.TypeFor[runDebug](), exitOf("debug"), "arch.exception arch.pc arch.dr6 arch.dr7"},
	{reflect.TypeFor[runEOI](), exitOf("eoi"), "vector"},
	{reflect.TypeFor[runMSR](), exitOf("msr"), "error reason index data"},
	{reflect.TypeFor[runHypercall](), exitOf("hypercall"), "nr args ret longmode"},
	{reflect.TypeFor[runHW](), exitOf("hw"), "hardware_exit_reason"},
	{reflect.TypeFor[runPage](), "", "request_interrupt_window immediate_exit exit_reason ready_for_interrupt_injection if_flag flags cr8 apic_base padding"},
}

func TestLayoutsAreTheKernels(t *testing.T) {
	h := newHeader()
	for _, l := range layouts {
		c := l.cType
		if c == "" {
			c = "struct kvm_run" // runPage is its head only: no size to compare
		} else {
			h.ask(l.goType.Name(), "sizeof("+c+")")
		}
		for _, m := range strings.Fields(l.members) {
			h.ask(l.goType.Name()+"."+m, fmt.Sprintf("offsetof(%s, %s)", c, m))
			h.ask(l.goType.Name()+"#"+m, fmt.Sprintf("sizeof(((%s *)0)->%s)", c, m))
		}
	}
	values := h.answers(t)
	for _, l := range layouts {
		name := l.goType.Name()
		if l.cType != "" && int64(l.goType.Size()) != values[name] {
			t.Errorf("%s: %d bytes, want %d", name, l.goType.Size(), values[name])
		}
		if l.goType.Kind() != reflect.Struct {
			continue
		}
		members := strings.Fields(l.members)
		for i := range l.goType.NumField() {
			f := l.goType.Field(i)
			if f.Name == "_" {
				continue
			}
			if len(members) == 0 {
				t.Errorf("%s.%s has no member of the kernel's to compare with", name, f.Name)
				break
			}
			m := members[0]
			members = members[1:]
			if want := values[name+"."+m]; int64(f.Offset) != want {
				t.Errorf("%s.%s is at %d, %s is at %d", name, f.Name, f.Offset, m, want)
			}
			if want := values[name+"#"+m]; int64(f.Type.Size()) != want {
				t.Errorf("%s.%s has %d bytes, %s has %d", name, f.Name, f.Type.Size(), m, want)
			}
		}
		if len(members) > 0 {
			t.Errorf("%s: no field for %v", name, members)
		}
	}
}

// TestUnionMembersFit holds what exitAs asks of its types.
func TestUnionMembersFit(t *testing.T) {
	for _, l := range layouts {
		if !strings.HasPrefix(l.cType, "__typeof__") {
			continue
		}
		if size := l.goType.Size(); size > uintptr(len(runPage{}.Exit)) {
			t.Errorf("%s has %d bytes, more than the union", l.goType.Name(), size)
		}
		if align := l.goType.Align(); align > 8 {
			t.Errorf("%s is aligned to %d", l.goType.Name(), align)
		}
	}
}

func TestEveryRequestPrintsItsName(t *testing.T) {
	if got := Request(0x1234).String(); got != "ioctl(0x1234)" {
		t.Errorf("Request(0x1234) = %q", got)
	}
	if got := RequestRun.String(); got != "KVM_RUN" {
		t.Errorf("RequestRun = %q", got)
	}
}
