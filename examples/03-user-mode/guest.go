package main

// Guest physical addresses, which are its linear addresses too.
const (
	memorySize = 0x10000
	kernelAt   = 0x1000 // the kernel's code
	gdtAt      = 0x2000
	tssAt      = 0x2100
	idtAt      = 0x3000
	userAt     = 0x4000 // the program
	userTop    = 0x6000 // its stack, from 0x5000
	kernelTop  = 0x8000 // the kernel's stack, from 0x7000
	pml4At     = 0x9000
	pdptAt     = 0xa000
	pdAt       = 0xb000
	ptAt       = 0xc000
)

// Ports by which the kernel talks to the monitor.
const (
	consolePort = 0x10 // a letter
	gpPort      = 0x11 // it has caught a #GP
	pfPort      = 0x12 // it has caught a #PF
)

// The kernel: its start and its three handlers, each at a place of its own.
const (
	systemCallAt = kernelAt + 0x20
	gpHandlerAt  = kernelAt + 0x40
	pfHandlerAt  = kernelAt + 0x60
)

// start makes the frame that an interrupt would have left, and returns from
// it: that is the one way to a higher CPL.
var start = []byte{
	0x6a, 0x1b, //                   push 0x1b       ; SS: user data
	0x68, 0x00, 0x60, 0x00, 0x00, // push userTop    ; RSP
	0x6a, 0x02, //                   push 2          ; RFLAGS, IOPL 0
	0x6a, 0x23, //                   push 0x23       ; CS: user code
	0x68, 0x00, 0x40, 0x00, 0x00, // push userAt     ; RIP
	0x48, 0xcf, //                   iretq
}

// systemCall is the handler of #UD: the program calls by an instruction that
// does not exist. AH 0 prints the letter in AL, AH 1 ends the program. UD2 has
// 2 bytes, to go on after.
//
// SYSCALL and INT are the usual ways. But they are no faults, and a KVM that
// interprets kernel mode does not take a guest through them.
var systemCall = []byte{
	0x80, 0xfc, 0x01, //             cmp ah, 1
	0x74, 0x09, //                   je exit
	0xe6, consolePort, //            out consolePort, al
	0x48, 0x83, 0x04, 0x24, 0x02, // add qword [rsp], 2
	0x48, 0xcf, //                   iretq
	0xf4, //                   exit: hlt
}

// The handlers of #GP and #PF tell the monitor, drop the error code, and go
// on after the instruction that is to blame: HLT has 1 byte, the MOV has 3.
var gpHandler = []byte{
	0xe6, gpPort, //           out gpPort, al
	0x48, 0x83, 0xc4, 0x08, // add rsp, 8
	0x48, 0xff, 0x04, 0x24, // inc qword [rsp]
	0x48, 0xcf, //             iretq
}

var pfHandler = []byte{
	0xe6, pfPort, //                 out pfPort, al
	0x48, 0x83, 0xc4, 0x08, //       add rsp, 8
	0x48, 0x83, 0x04, 0x24, 0x03, // add qword [rsp], 3
	0x48, 0xcf, //                   iretq
}

// program prints a text and its own CPL, then tries to halt the CPU and to
// write over the kernel.
var program = []byte{
	0x48, 0x8d, 0x35, 0x22, 0x00, 0x00, 0x00, // lea rsi, [rip + message]
	0xac,       //                         next: lodsb
	0x84, 0xc0, //                               test al, al
	0x74, 0x06, //                               jz done
	0x30, 0xe4, //                               xor ah, ah
	0x0f, 0x0b, //                               ud2
	0xeb, 0xf5, //                               jmp next
	0x8c, 0xc8, //                         done: mov eax, cs
	0x24, 0x03, //                               and al, 3      ; the CPL
	0x04, '0', //                                add al, '0'
	0x30, 0xe4, //                               xor ah, ah
	0x0f, 0x0b, //                               ud2
	0xf4,                         //             hlt            ; #GP
	0xbf, 0x00, 0x10, 0x00, 0x00, //             mov edi, kernelAt
	0xc6, 0x07, 0x00, //                         mov byte [rdi], 0 ; #PF
	0xb4, 0x01, //                               mov ah, 1
	0x0f, 0x0b, //                               ud2
}

const message = "Hello from CPL \x00"

func writeGuest(memory []byte) {
	copy(memory[kernelAt:], start)
	copy(memory[systemCallAt:], systemCall)
	copy(memory[gpHandlerAt:], gpHandler)
	copy(memory[pfHandlerAt:], pfHandler)
	copy(memory[userAt:], program)
	copy(memory[userAt+len(program):], message)
}
