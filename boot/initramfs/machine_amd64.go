package initramfs

import "debug/elf"

// machine is what the guest's processor runs.
const machine = elf.EM_X86_64
