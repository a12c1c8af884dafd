#include "textflag.h"

// func Load(p *uint16) uint16
//
// An aligned 16-bit load is atomic, and x86 does not move later loads before it.
TEXT ·Load(SB), NOSPLIT, $0-10
	MOVQ	p+0(FP), AX
	MOVWLZX	(AX), AX
	MOVW	AX, ret+8(FP)
	RET

// func Store(p *uint16, v uint16)
//
// XCHG with memory locks by itself: store and full fence in one instruction,
// where MOV would be a release only.
TEXT ·Store(SB), NOSPLIT, $0-10
	MOVQ	p+0(FP), AX
	MOVW	v+8(FP), CX
	XCHGW	CX, (AX)
	RET
