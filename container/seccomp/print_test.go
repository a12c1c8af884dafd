package seccomp

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func TestEvaluateForeignPrograms(t *testing.T) {
	ret := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: uint32(allow)}
	for name, program := range map[string][]unix.SockFilter{
		"empty":          nil,
		"no end":         {{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K}},
		"far jump":       {{Code: unix.BPF_JMP | unix.BPF_JA, K: math.MaxUint32}, ret},
		"bad load":       {{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 64}, ret},
		"unaligned load": {{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 2}, ret},
		"store":          {{Code: unix.BPF_ST}, ret},
	} {
		f := &Filter{Program: program}
		if got := f.Evaluate(native(0)); got != killProcess {
			t.Errorf("%s: %v, want KILL_PROCESS", name, got)
		}
		if err := f.WriteText(&strings.Builder{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func ExampleFilter_WriteText() {
	f, err := Compile(&specs.LinuxSeccomp{
		DefaultAction: specs.ActAllow,
		Syscalls: []specs.LinuxSyscall{
			{Names: []string{"reboot", "kexec_load"}, Action: specs.ActErrno},
			{
				Names: []string{"personality"}, Action: specs.ActKillProcess,
				Args: []specs.LinuxSeccompArg{{Index: 0, Op: specs.OpMaskedEqual, Value: 0x30000, ValueTwo: 0x10000}},
			},
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	var b strings.Builder
	_ = f.WriteText(&b)
	fmt.Print(b.String())
	// Output:
	//    0  ld    arch
	//    1  jeq   x86_64, 2, 17
	//    2  ld    nr
	//    3  jge   170 (sethostname), 4, 8
	//    4  jge   247 (waitid), 5, 7
	//    5  jge   0x40000000 (x32), 6, 16
	//    6  jge   -1, 16, 17
	//    7  jge   246 (kexec_load), 11, 16
	//    8  jge   135 (personality), 9, 16
	//    9  jge   136 (ustat), 10, 12
	//   10  jge   169 (reboot), 11, 16
	//   11  ret   ERRNO(EPERM)
	//   12  ld    args[0], lower half
	//   13  and   0x30000
	//   14  jeq   0x10000, 15, 16
	//   15  ret   KILL_PROCESS
	//   16  ret   ALLOW
	//   17  ret   KILL_THREAD
}
