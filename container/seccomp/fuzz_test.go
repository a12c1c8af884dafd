package seccomp

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// FuzzCompile has a profile in JSON compiled: there is no panic, and the kernel would take what comes out and carry it
// out as the profile says.
func FuzzCompile(f *testing.F) {
	add := func(spec *specs.LinuxSeccomp) {
		text, err := json.Marshal(spec)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text, uint64(1))
	}
	add(defaultProfile(f, nil))
	add(defaultProfile(f, []string{"CAP_SYS_ADMIN"}))
	add(permissive(on("mknod", specs.ActErrno), on("socket", specs.ActTrace)))
	add(tangledRules(20))
	add(manyRules(10))
	for _, text := range []string{
		// The example of runtime-spec, config-linux.
		`{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86","SCMP_ARCH_X32"],
		"syscalls":[{"names":["getcwd","chmod"],"action":"SCMP_ACT_ERRNO"}]}`,
		`{"defaultAction":"SCMP_ACT_KILL","defaultErrnoRet":1}`,
		`{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":38,"flags":["SECCOMP_FILTER_FLAG_LOG"],
		"listenerPath":"/a","listenerMetadata":"b",
		"syscalls":[{"names":["write","x"],"action":"SCMP_ACT_NOTIFY","args":[
		{"index":5,"value":18446744073709551615,"valueTwo":1,"op":"SCMP_CMP_MASKED_EQ"},
		{"index":0,"value":0,"op":"SCMP_CMP_GT"}]}]}`,
		`{"defaultAction":"SCMP_ACT_LOG","architectures":["SCMP_ARCH_ARM"],
		"syscalls":[{"names":["semop","bind"],"action":"SCMP_ACT_TRACE","errnoRet":7,"args":[
		{"index":1,"value":4294967296,"op":"SCMP_CMP_LE"},{"index":1,"value":0,"op":"SCMP_CMP_GE"}]}]}`,
		`null`, `{}`, `{"syscalls":[{}]}`,
	} {
		f.Add([]byte(text), uint64(2))
	}
	f.Fuzz(func(t *testing.T, text []byte, seed uint64) {
		spec := new(specs.LinuxSeccomp)
		if json.Unmarshal(text, &spec) != nil {
			return
		}
		filter, err := Compile(spec)
		if err != nil {
			return
		}
		if err := checkProgram(filter.Program); err != nil {
			t.Fatal(err)
		}
		random := rand.New(rand.NewPCG(seed, 0))
		values := interesting(spec)
		for range 50 {
			e := &syscallTable[random.IntN(len(syscallTable))]
			if n := len(spec.Syscalls); n > 0 && random.IntN(4) > 0 {
				names := spec.Syscalls[random.IntN(n)].Names
				if named := findSyscall(names[random.IntN(len(names))]); named != nil {
					e = named
				}
			}
			kind := abi(random.IntN(abis))
			nr, ok := e.nr(kind)
			d := Data{NR: int32(nr), Arch: ArchX86_64}
			if kind == i386 {
				d.Arch = ArchI386
			}
			for i := range d.Args {
				d.Args[i] = values[random.IntN(len(values))]
			}
			want := meanings(spec, d)
			switch p, _ := parseProfile(spec); {
			case !ok:
				continue
			case !covers(spec, d):
				want = []Action{badArch}
			case p.deniesUnknown(): // and this one may be newer than all that are named
				want = append(want, errno(38))
			}
			if got := filter.Evaluate(d); !slices.Contains(want, got) {
				t.Fatalf("%s %s %#x: %v, want one of %v", kind, e.name, d, got, want)
			}
		}
	})
}
