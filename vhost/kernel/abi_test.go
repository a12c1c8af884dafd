package kernel

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

// header asks the C compiler for the values of expressions over linux/vhost.h. What
// stands behind a macro that the header does not have is left out.
func header(t *testing.T, expressions []string) map[string]int64 {
	t.Helper()
	testenv.Need(t, testenv.GCC)
	var program bytes.Buffer
	program.WriteString("#include <stddef.h>\n#include <stdio.h>\n#include <linux/vhost.h>\nint main(void) {\n")
	for _, e := range expressions {
		macro := strings.HasPrefix(e, "VHOST_")
		if macro {
			fmt.Fprintf(&program, "#ifdef %s\n", e)
		}
		fmt.Fprintf(&program, "printf(\"%%s\\t%%lld\\n\", %q, (long long)(%s));\n", e, e)
		if macro {
			program.WriteString("#endif\n")
		}
	}
	program.WriteString("return 0;\n}\n")
	dir := t.TempDir()
	source, binary := filepath.Join(dir, "abi.c"), filepath.Join(dir, "abi")
	if err := os.WriteFile(source, program.Bytes(), 0o600); err != nil {
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
		if values[name], err = strconv.ParseInt(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	return values
}

// newer are the requests that came after Linux 6.1, whose header may be the one here.
var newer = map[Request]bool{newWorker: true, freeWorker: true, attachVringWorker: true, getVringWorker: true}

func TestNumbersAreTheKernels(t *testing.T) {
	constants := map[string]int64{
		"VHOST_F_LOG_ALL":            FeatureLogAll,
		"VHOST_NET_F_VIRTIO_NET_HDR": FeatureNetVirtioHdr,
		"1 << VHOST_VRING_F_LOG":     VringLog,
		"VHOST_FILE_UNBIND":          NoFile,
		"VHOST_PAGE_SIZE":            pageSize,
	}
	for r, name := range requestNames {
		constants[name] = int64(r)
	}
	var names []string
	for name := range constants {
		names = append(names, name)
	}
	values := header(t, names)
	for name, got := range constants {
		want, known := values[name]
		switch {
		case !known && newer[Request(got)]:
			t.Logf("%s is not in this header", name)
		case !known:
			t.Errorf("%s is not in linux/vhost.h", name)
		case got != want:
			t.Errorf("%s = %#x, want %#x", name, got, want)
		}
	}
}

func TestLayoutsAreTheKernels(t *testing.T) {
	layouts := []struct {
		goType  reflect.Type
		cType   string
		members string
	}{
		{reflect.TypeFor[vringState](), "struct vhost_vring_state", "index num"},
		{reflect.TypeFor[vringFile](), "struct vhost_vring_file", "index fd"},
		{reflect.TypeFor[VringAddr](), "struct vhost_vring_addr", "index flags desc_user_addr used_user_addr avail_user_addr log_guest_addr"},
		{reflect.TypeFor[MemoryRegion](), "struct vhost_memory_region", "guest_phys_addr memory_size userspace_addr flags_padding"},
		{reflect.TypeFor[memoryHeader](), "struct vhost_memory", "nregions padding"},
	}
	var asked []string
	for _, l := range layouts {
		asked = append(asked, "sizeof("+l.cType+")")
		for m := range strings.FieldsSeq(l.members) {
			asked = append(asked, "offsetof("+l.cType+", "+m+")", "sizeof((("+l.cType+" *)0)->"+m+")")
		}
	}
	values := header(t, asked)
	check := func(what string, got uintptr) {
		if want := values[what]; int64(got) != want {
			t.Errorf("%s = %d, want %d", what, got, want)
		}
	}
	for _, l := range layouts {
		check("sizeof("+l.cType+")", l.goType.Size())
		members := strings.Fields(l.members)
		if len(members) != l.goType.NumField() {
			t.Errorf("%v has %d fields, want %d", l.goType, l.goType.NumField(), len(members))
			continue
		}
		for i, m := range members {
			f := l.goType.Field(i)
			check("offsetof("+l.cType+", "+m+")", f.Offset)
			check("sizeof((("+l.cType+" *)0)->"+m+")", f.Type.Size())
		}
	}
}
