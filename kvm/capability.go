package kvm

import (
	"fmt"
	"maps"
	"slices"
)

// Capability is a KVM_CAP_ number, in the kernel's full width: they go past
// 255 in newer kernels.
type Capability uint32

// String is the kernel's name for it, "KVM_CAP_IRQFD".
func (c Capability) String() string {
	if name, ok := capabilityNames[c]; ok {
		return name
	}
	return fmt.Sprintf("KVM_CAP(%d)", uint32(c))
}

// The capabilities that x86 has or that all architectures share, as
// linux/kvm.h numbers them.
const (
	CapIRQChip                  Capability = 0
	CapHLT                      Capability = 1
	CapMMUShadowCacheControl    Capability = 2
	CapUserMemory               Capability = 3
	CapSetTSSAddr               Capability = 4
	CapVAPIC                    Capability = 6
	CapExtCPUID                 Capability = 7
	CapClocksource              Capability = 8
	CapNrVCPUs                  Capability = 9
	CapNrMemSlots               Capability = 10
	CapPIT                      Capability = 11
	CapNopIODelay               Capability = 12
	CapPVMMU                    Capability = 13
	CapMPState                  Capability = 14
	CapCoalescedMMIO            Capability = 15
	CapSyncMMU                  Capability = 16
	CapIOMMU                    Capability = 18
	CapDestroyMemoryRegionWorks Capability = 21
	CapUserNMI                  Capability = 22
	CapSetGuestDebug            Capability = 23
	CapReinjectControl          Capability = 24
	CapIRQRouting               Capability = 25
	CapIRQInjectStatus          Capability = 26
	CapAssignDevIRQ             Capability = 29
	CapJoinMemoryRegionsWorks   Capability = 30
	CapMCE                      Capability = 31
	CapIRQFD                    Capability = 32
	CapPIT2                     Capability = 33
	CapSetBootCPUID             Capability = 34
	CapPITState2                Capability = 35
	CapIOEventFD                Capability = 36
	CapSetIdentityMapAddr       Capability = 37
	CapXenHVM                   Capability = 38
	CapAdjustClock              Capability = 39
	CapInternalErrorData        Capability = 40
	CapVCPUEvents               Capability = 41
	CapHyperV                   Capability = 44
	CapHyperVVAPIC              Capability = 45
	CapHyperVSpin               Capability = 46
	CapPCISegment               Capability = 47
	CapIntrShadow               Capability = 49
	CapDebugRegs                Capability = 50
	CapX86RobustSinglestep      Capability = 51
	CapEnableCap                Capability = 54
	CapXSave                    Capability = 55
	CapXCRS                     Capability = 56
	CapAsyncPF                  Capability = 59
	CapTSCControl               Capability = 60
	CapGetTSCKHz                Capability = 61
	CapMaxVCPUs                 Capability = 66
	CapOneReg                   Capability = 70
	CapTSCDeadlineTimer         Capability = 72
	CapSyncRegs                 Capability = 74
	CapPCI23                    Capability = 75
	CapKVMClockCtrl             Capability = 76
	CapSignalMSI                Capability = 77
	CapReadOnlyMem              Capability = 81
	CapIRQFDResample            Capability = 82
	CapDeviceCtrl               Capability = 89
	CapExtEmulCPUID             Capability = 95
	CapHyperVTime               Capability = 96
	CapIOAPICPolarityIgnored    Capability = 97
	CapEnableCapVM              Capability = 98
	CapIOEventFDNoLength        Capability = 100
	CapVMAttributes             Capability = 101
	CapCheckExtensionVM         Capability = 105
	CapDisableQuirks            Capability = 116
	CapX86SMM                   Capability = 117
	CapMultiAddressSpace        Capability = 118
	CapGuestDebugHWBPS          Capability = 119
	CapGuestDebugHWWPS          Capability = 120
	CapSplitIRQChip             Capability = 121
	CapIOEventFDAnyLength       Capability = 122
	CapHyperVSynic              Capability = 123
	CapVCPUAttributes           Capability = 127
	CapMaxVCPUID                Capability = 128
	CapX2APICAPI                Capability = 129
	CapImmediateExit            Capability = 136
	CapX86DisableExits          Capability = 143
	CapHyperVSynic2             Capability = 148
	CapHyperVVPIndex            Capability = 149
	CapGetMSRFeatures           Capability = 153
	CapHyperVEventFD            Capability = 154
	CapHyperVTLBFlush           Capability = 155
	CapNestedState              Capability = 157
	CapMSRPlatformInfo          Capability = 159
	CapHyperVSendIPI            Capability = 161
	CapCoalescedPIO             Capability = 162
	CapHyperVEnlightenedVMCS    Capability = 163
	CapExceptionPayload         Capability = 164
	CapManualDirtyLogProtect    Capability = 166
	CapHyperVCPUID              Capability = 167
	CapManualDirtyLogProtect2   Capability = 168
	CapPMUEventFilter           Capability = 173
	CapHyperVDirectTLBFlush     Capability = 175
	CapHaltPoll                 Capability = 182
	CapAsyncPFInt               Capability = 183
	CapLastCPU                  Capability = 184
	CapSmallerMaxPhyAddr        Capability = 185
	CapStealTime                Capability = 187
	CapX86UserSpaceMSR          Capability = 188
	CapX86MSRFilter             Capability = 189
	CapEnforcePVFeatureCPUID    Capability = 190
	CapSysHyperVCPUID           Capability = 191
	CapDirtyLogRing             Capability = 192
	CapX86BusLockExit           Capability = 193
	CapSetGuestDebug2           Capability = 195
	CapSGXAttribute             Capability = 196
	CapVMCopyEncContextFrom     Capability = 197
	CapPTPKVM                   Capability = 198
	CapHyperVEnforceCPUID       Capability = 199
	CapSregs2                   Capability = 200
	CapExitHypercall            Capability = 201
	CapBinaryStatsFD            Capability = 203
	CapExitOnEmulationFailure   Capability = 204
	CapVMMoveEncContextFrom     Capability = 206
	CapVMGPABits                Capability = 207
	CapXSave2                   Capability = 208
	CapSysAttributes            Capability = 209
	CapPMUCapability            Capability = 212
	CapDisableQuirks2           Capability = 213
	CapVMTSCControl             Capability = 214
	CapSystemEventData          Capability = 215
	CapX86TripleFaultEvent      Capability = 218
	CapX86NotifyVMExit          Capability = 219
	CapVMDisableNXHugePages     Capability = 220
	CapDirtyLogRingAcqRel       Capability = 223

	// Newer than Linux 6.1.
	CapDirtyLogRingWithBitmap Capability = 225
	CapPMUEventMaskedEvents   Capability = 226
	CapUserMemory2            Capability = 231
	CapMemoryFaultInfo        Capability = 232
	CapMemoryAttributes       Capability = 233
	CapGuestMemFD             Capability = 234
	CapVMTypes                Capability = 235
	CapPreFaultMemory         Capability = 236
	CapX86APICBusCyclesNS     Capability = 237
	CapX86GuestMode           Capability = 238
)

// capabilityNames holds every constant above, under the kernel's name.
var capabilityNames = map[Capability]string{
	CapIRQChip:                  "KVM_CAP_IRQCHIP",
	CapHLT:                      "KVM_CAP_HLT",
	CapMMUShadowCacheControl:    "KVM_CAP_MMU_SHADOW_CACHE_CONTROL",
	CapUserMemory:               "KVM_CAP_USER_MEMORY",
	CapSetTSSAddr:               "KVM_CAP_SET_TSS_ADDR",
	CapVAPIC:                    "KVM_CAP_VAPIC",
	CapExtCPUID:                 "KVM_CAP_EXT_CPUID",
	CapClocksource:              "KVM_CAP_CLOCKSOURCE",
	CapNrVCPUs:                  "KVM_CAP_NR_VCPUS",
	CapNrMemSlots:               "KVM_CAP_NR_MEMSLOTS",
	CapPIT:                      "KVM_CAP_PIT",
	CapNopIODelay:               "KVM_CAP_NOP_IO_DELAY",
	CapPVMMU:                    "KVM_CAP_PV_MMU",
	CapMPState:                  "KVM_CAP_MP_STATE",
	CapCoalescedMMIO:            "KVM_CAP_COALESCED_MMIO",
	CapSyncMMU:                  "KVM_CAP_SYNC_MMU",
	CapIOMMU:                    "KVM_CAP_IOMMU",
	CapDestroyMemoryRegionWorks: "KVM_CAP_DESTROY_MEMORY_REGION_WORKS",
	CapUserNMI:                  "KVM_CAP_USER_NMI",
	CapSetGuestDebug:            "KVM_CAP_SET_GUEST_DEBUG",
	CapReinjectControl:          "KVM_CAP_REINJECT_CONTROL",
	CapIRQRouting:               "KVM_CAP_IRQ_ROUTING",
	CapIRQInjectStatus:          "KVM_CAP_IRQ_INJECT_STATUS",
	CapAssignDevIRQ:             "KVM_CAP_ASSIGN_DEV_IRQ",
	CapJoinMemoryRegionsWorks:   "KVM_CAP_JOIN_MEMORY_REGIONS_WORKS",
	CapMCE:                      "KVM_CAP_MCE",
	CapIRQFD:                    "KVM_CAP_IRQFD",
	CapPIT2:                     "KVM_CAP_PIT2",
	CapSetBootCPUID:             "KVM_CAP_SET_BOOT_CPU_ID",
	CapPITState2:                "KVM_CAP_PIT_STATE2",
	CapIOEventFD:                "KVM_CAP_IOEVENTFD",
	CapSetIdentityMapAddr:       "KVM_CAP_SET_IDENTITY_MAP_ADDR",
	CapXenHVM:                   "KVM_CAP_XEN_HVM",
	CapAdjustClock:              "KVM_CAP_ADJUST_CLOCK",
	CapInternalErrorData:        "KVM_CAP_INTERNAL_ERROR_DATA",
	CapVCPUEvents:               "KVM_CAP_VCPU_EVENTS",
	CapHyperV:                   "KVM_CAP_HYPERV",
	CapHyperVVAPIC:              "KVM_CAP_HYPERV_VAPIC",
	CapHyperVSpin:               "KVM_CAP_HYPERV_SPIN",
	CapPCISegment:               "KVM_CAP_PCI_SEGMENT",
	CapIntrShadow:               "KVM_CAP_INTR_SHADOW",
	CapDebugRegs:                "KVM_CAP_DEBUGREGS",
	CapX86RobustSinglestep:      "KVM_CAP_X86_ROBUST_SINGLESTEP",
	CapEnableCap:                "KVM_CAP_ENABLE_CAP",
	CapXSave:                    "KVM_CAP_XSAVE",
	CapXCRS:                     "KVM_CAP_XCRS",
	CapAsyncPF:                  "KVM_CAP_ASYNC_PF",
	CapTSCControl:               "KVM_CAP_TSC_CONTROL",
	CapGetTSCKHz:                "KVM_CAP_GET_TSC_KHZ",
	CapMaxVCPUs:                 "KVM_CAP_MAX_VCPUS",
	CapOneReg:                   "KVM_CAP_ONE_REG",
	CapTSCDeadlineTimer:         "KVM_CAP_TSC_DEADLINE_TIMER",
	CapSyncRegs:                 "KVM_CAP_SYNC_REGS",
	CapPCI23:                    "KVM_CAP_PCI_2_3",
	CapKVMClockCtrl:             "KVM_CAP_KVMCLOCK_CTRL",
	CapSignalMSI:                "KVM_CAP_SIGNAL_MSI",
	CapReadOnlyMem:              "KVM_CAP_READONLY_MEM",
	CapIRQFDResample:            "KVM_CAP_IRQFD_RESAMPLE",
	CapDeviceCtrl:               "KVM_CAP_DEVICE_CTRL",
	CapExtEmulCPUID:             "KVM_CAP_EXT_EMUL_CPUID",
	CapHyperVTime:               "KVM_CAP_HYPERV_TIME",
	CapIOAPICPolarityIgnored:    "KVM_CAP_IOAPIC_POLARITY_IGNORED",
	CapEnableCapVM:              "KVM_CAP_ENABLE_CAP_VM",
	CapIOEventFDNoLength:        "KVM_CAP_IOEVENTFD_NO_LENGTH",
	CapVMAttributes:             "KVM_CAP_VM_ATTRIBUTES",
	CapCheckExtensionVM:         "KVM_CAP_CHECK_EXTENSION_VM",
	CapDisableQuirks:            "KVM_CAP_DISABLE_QUIRKS",
	CapX86SMM:                   "KVM_CAP_X86_SMM",
	CapMultiAddressSpace:        "KVM_CAP_MULTI_ADDRESS_SPACE",
	CapGuestDebugHWBPS:          "KVM_CAP_GUEST_DEBUG_HW_BPS",
	CapGuestDebugHWWPS:          "KVM_CAP_GUEST_DEBUG_HW_WPS",
	CapSplitIRQChip:             "KVM_CAP_SPLIT_IRQCHIP",
	CapIOEventFDAnyLength:       "KVM_CAP_IOEVENTFD_ANY_LENGTH",
	CapHyperVSynic:              "KVM_CAP_HYPERV_SYNIC",
	CapVCPUAttributes:           "KVM_CAP_VCPU_ATTRIBUTES",
	CapMaxVCPUID:                "KVM_CAP_MAX_VCPU_ID",
	CapX2APICAPI:                "KVM_CAP_X2APIC_API",
	CapImmediateExit:            "KVM_CAP_IMMEDIATE_EXIT",
	CapX86DisableExits:          "KVM_CAP_X86_DISABLE_EXITS",
	CapHyperVSynic2:             "KVM_CAP_HYPERV_SYNIC2",
	CapHyperVVPIndex:            "KVM_CAP_HYPERV_VP_INDEX",
	CapGetMSRFeatures:           "KVM_CAP_GET_MSR_FEATURES",
	CapHyperVEventFD:            "KVM_CAP_HYPERV_EVENTFD",
	CapHyperVTLBFlush:           "KVM_CAP_HYPERV_TLBFLUSH",
	CapNestedState:              "KVM_CAP_NESTED_STATE",
	CapMSRPlatformInfo:          "KVM_CAP_MSR_PLATFORM_INFO",
	CapHyperVSendIPI:            "KVM_CAP_HYPERV_SEND_IPI",
	CapCoalescedPIO:             "KVM_CAP_COALESCED_PIO",
	CapHyperVEnlightenedVMCS:    "KVM_CAP_HYPERV_ENLIGHTENED_VMCS",
	CapExceptionPayload:         "KVM_CAP_EXCEPTION_PAYLOAD",
	CapManualDirtyLogProtect:    "KVM_CAP_MANUAL_DIRTY_LOG_PROTECT",
	CapHyperVCPUID:              "KVM_CAP_HYPERV_CPUID",
	CapManualDirtyLogProtect2:   "KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2",
	CapPMUEventFilter:           "KVM_CAP_PMU_EVENT_FILTER",
	CapHyperVDirectTLBFlush:     "KVM_CAP_HYPERV_DIRECT_TLBFLUSH",
	CapHaltPoll:                 "KVM_CAP_HALT_POLL",
	CapAsyncPFInt:               "KVM_CAP_ASYNC_PF_INT",
	CapLastCPU:                  "KVM_CAP_LAST_CPU",
	CapSmallerMaxPhyAddr:        "KVM_CAP_SMALLER_MAXPHYADDR",
	CapStealTime:                "KVM_CAP_STEAL_TIME",
	CapX86UserSpaceMSR:          "KVM_CAP_X86_USER_SPACE_MSR",
	CapX86MSRFilter:             "KVM_CAP_X86_MSR_FILTER",
	CapEnforcePVFeatureCPUID:    "KVM_CAP_ENFORCE_PV_FEATURE_CPUID",
	CapSysHyperVCPUID:           "KVM_CAP_SYS_HYPERV_CPUID",
	CapDirtyLogRing:             "KVM_CAP_DIRTY_LOG_RING",
	CapX86BusLockExit:           "KVM_CAP_X86_BUS_LOCK_EXIT",
	CapSetGuestDebug2:           "KVM_CAP_SET_GUEST_DEBUG2",
	CapSGXAttribute:             "KVM_CAP_SGX_ATTRIBUTE",
	CapVMCopyEncContextFrom:     "KVM_CAP_VM_COPY_ENC_CONTEXT_FROM",
	CapPTPKVM:                   "KVM_CAP_PTP_KVM",
	CapHyperVEnforceCPUID:       "KVM_CAP_HYPERV_ENFORCE_CPUID",
	CapSregs2:                   "KVM_CAP_SREGS2",
	CapExitHypercall:            "KVM_CAP_EXIT_HYPERCALL",
	CapBinaryStatsFD:            "KVM_CAP_BINARY_STATS_FD",
	CapExitOnEmulationFailure:   "KVM_CAP_EXIT_ON_EMULATION_FAILURE",
	CapVMMoveEncContextFrom:     "KVM_CAP_VM_MOVE_ENC_CONTEXT_FROM",
	CapVMGPABits:                "KVM_CAP_VM_GPA_BITS",
	CapXSave2:                   "KVM_CAP_XSAVE2",
	CapSysAttributes:            "KVM_CAP_SYS_ATTRIBUTES",
	CapPMUCapability:            "KVM_CAP_PMU_CAPABILITY",
	CapDisableQuirks2:           "KVM_CAP_DISABLE_QUIRKS2",
	CapVMTSCControl:             "KVM_CAP_VM_TSC_CONTROL",
	CapSystemEventData:          "KVM_CAP_SYSTEM_EVENT_DATA",
	CapX86TripleFaultEvent:      "KVM_CAP_X86_TRIPLE_FAULT_EVENT",
	CapX86NotifyVMExit:          "KVM_CAP_X86_NOTIFY_VMEXIT",
	CapVMDisableNXHugePages:     "KVM_CAP_VM_DISABLE_NX_HUGE_PAGES",
	CapDirtyLogRingAcqRel:       "KVM_CAP_DIRTY_LOG_RING_ACQ_REL",
	CapDirtyLogRingWithBitmap:   "KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP",
	CapPMUEventMaskedEvents:     "KVM_CAP_PMU_EVENT_MASKED_EVENTS",
	CapUserMemory2:              "KVM_CAP_USER_MEMORY2",
	CapMemoryFaultInfo:          "KVM_CAP_MEMORY_FAULT_INFO",
	CapMemoryAttributes:         "KVM_CAP_MEMORY_ATTRIBUTES",
	CapGuestMemFD:               "KVM_CAP_GUEST_MEMFD",
	CapVMTypes:                  "KVM_CAP_VM_TYPES",
	CapPreFaultMemory:           "KVM_CAP_PRE_FAULT_MEMORY",
	CapX86APICBusCyclesNS:       "KVM_CAP_X86_APIC_BUS_CYCLES_NS",
	CapX86GuestMode:             "KVM_CAP_X86_GUEST_MODE",
}

// Capabilities is every capability that this package has a name for, in the
// order of their numbers.
func Capabilities() []Capability { return slices.Sorted(maps.Keys(capabilityNames)) }
