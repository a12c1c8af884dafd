package rootfs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"tandem/container/child"
	"tandem/internal/testenv"
)

// layered is a busybox root of layers, the topmost first, with a file each. Their folders' names begin with prefix.
func layered(t *testing.T, n int, prefix string) *Overlay {
	t.Helper()
	testenv.Need(t, testenv.Overlay)
	base := busybox(t)
	dir := filepath.Join(plainFolder(t), prefix)
	o := &Overlay{Upper: dir + "/upper", Work: dir + "/work"}
	for i := range n {
		layer := fmt.Sprintf("%s/%d", dir, i)
		write(t, fmt.Sprintf("%s/layer%d", layer, i), "")
		write(t, layer+"/top", fmt.Sprintf("%d\n", i))
		o.Lower = append(o.Lower, layer)
	}
	o.Lower = append(o.Lower, base)
	for _, path := range []string{o.Upper, o.Work} {
		if err := os.MkdirAll(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return o
}

// plainFolder is a temporary folder that is not on an overlay, which can't be another one's upper layer.
func plainFolder(t *testing.T) string {
	dir := t.TempDir()
	var stat unix.Statfs_t
	if err := unix.Statfs(dir, &stat); err != nil {
		t.Fatal(err)
	}
	if stat.Type != unix.OVERLAYFS_SUPER_MAGIC {
		return dir
	}
	dir, err := os.MkdirTemp("/dev/shm", "rootfs-test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestOverlay(t *testing.T) {
	for name, prefix := range map[string]string{"plain": "layers", "odd": `a,b:c\d e`, "long": strings.Repeat("long/", 60)} {
		t.Run(name, func(t *testing.T) {
			o := layered(t, 3, prefix)
			o.Options = []string{"index=off"}
			root := t.TempDir()
			spec := own(root, proc)
			spec.Overlay = o
			text := box{spec: spec, namespaces: newAll, script: "cat /top; ls /; echo new >/top; rm /layer2; cat /proc/self/mountinfo"}.must(t)
			hasLines(t, text, "0", "layer0", "layer1", "layer2")
			hasMount(t, text, "/", " - overlay ")
			if got, err := os.ReadFile(o.Upper + "/top"); string(got) != "new\n" {
				t.Errorf("the upper layer has %q, %v", got, err)
			}
			var stat unix.Stat_t
			if err := unix.Lstat(o.Upper+"/layer2", &stat); err != nil || stat.Mode&unix.S_IFMT != unix.S_IFCHR || stat.Rdev != 0 {
				t.Errorf("no whiteout: mode %#o, %v", stat.Mode, err)
			}
			if got, err := os.ReadFile(o.Lower[0] + "/top"); string(got) != "0\n" {
				t.Errorf("a lower layer was written to: %q, %v", got, err)
			}
		})
	}
}

// mount(2) does the same for kernels that take no layer for itself.
func TestOldOverlay(t *testing.T) {
	for name, prefix := range map[string]string{"plain": "layers", "odd": `a,b:c\d e`} {
		t.Run(name, func(t *testing.T) {
			o := layered(t, 2, prefix)
			// An option that no kernel has makes the new way fail, and the old one say so.
			o.Options = []string{"frobnicate"}
			root := t.TempDir()
			spec := own(root, proc)
			spec.Overlay = o
			box{spec: spec, namespaces: newAll}.fails(t, unix.EINVAL, "overlay", root, "mount .")

			l, err := o.layers()
			if err != nil {
				t.Fatal(err)
			}
			l.options = nil
			inNS := inMountNS
			done := make(chan error)
			go func() {
				inNS(t, func() bool {
					err := unix.Mount("overlay", root, "overlay", mountFlags(unix.MOUNT_ATTR_NOSUID), l.mountData())
					if _, err2 := os.Stat(root + "/layer1"); err == nil {
						err = err2
					}
					done <- err
					return true
				})
			}()
			if err := <-done; err != nil {
				t.Errorf("mount(2) with %q: %v", l.mountData(), err)
			}
		})
	}
}

func TestManyLayers(t *testing.T) {
	o := layered(t, 499, "l")
	spec := own(t.TempDir(), proc)
	spec.Overlay = o
	text, err := box{spec: spec, namespaces: newAll, script: "cat /top; ls / | grep -c layer"}.run(t)
	if errors.Is(err, unix.E2BIG) && strings.Contains(err.Error(), "bytes of options for 500 layers") {
		t.Log("a kernel before 6.7:", err)
	} else if err != nil {
		t.Error(err)
	} else {
		hasLines(t, text, "0", "499")
	}

	o.Lower = append(o.Lower, o.Lower[0])
	if _, err := New(spec); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "500 at most") || !strings.Contains(err.Error(), "unpack some of them into one") {
		t.Errorf("501 layers: %v", err)
	}
	// What mount(2) can't be given says so in the plan, as the step that would fail.
	o.Lower = slices.Repeat([]string{"/a/layer/with/a/name/of/some/length"}, 400)
	b, err := New(spec)
	if err != nil {
		t.Fatal(err)
	}
	p := child.New()
	b.Prepare(p)
	if text := print(p); !strings.Contains(text, "fail 14") || !strings.Contains(text, "E2BIG") {
		t.Errorf("the plan has no error for an old kernel:\n%s", text)
	}
}

// One layer, and none to write to, needs no overlay.
func TestOneLayer(t *testing.T) {
	base := busybox(t)
	for _, dir := range []string{"/proc", "/dev"} {
		if err := os.MkdirAll(base+dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	spec := own(t.TempDir(), proc, tmpfs("/dev"))
	spec.Overlay = &Overlay{Lower: []string{base}}
	text := box{spec: spec, namespaces: newAll, script: "cat /proc/self/mountinfo; touch /x 2>/dev/null || echo read-only"}.must(t)
	hasMount(t, text, "/", " ro,", base)
	hasLines(t, text, "read-only")
}

// An overlay among the mounts, as podman has it for volumes with the option O.
func TestOverlayMount(t *testing.T) {
	o := layered(t, 2, `a,b:c`)
	escape := strings.NewReplacer(`\`, `\\`, ",", `\,`, ":", `\:`)
	var lower []string
	for _, l := range o.Lower[:2] {
		lower = append(lower, escape.Replace(l))
	}
	root := busybox(t)
	for _, options := range [][]string{
		{"lowerdir=" + strings.Join(lower, ":"), "upperdir=" + escape.Replace(o.Upper), "workdir=" + escape.Replace(o.Work), "private", "nosuid"},
		{"lowerdir=" + strings.Join(lower, ":") + ",upperdir=" + escape.Replace(o.Upper) + ",workdir=" + escape.Replace(o.Work), "nosuid"},
	} {
		text := box{
			spec:       own(root, proc, specs.Mount{Destination: "/volume", Type: "overlay", Source: "overlay", Options: options}),
			namespaces: newAll, script: "ls /volume; cat /volume/top; echo x >/volume/new; cat /proc/self/mountinfo",
		}.must(t)
		hasLines(t, text, "layer0", "layer1", "top", "0")
		hasMount(t, text, "/volume", " - overlay overlay ", "nosuid")
	}
	if _, err := os.Stat(o.Upper + "/new"); err != nil {
		t.Error(err)
	}
}

func TestSplitLayers(t *testing.T) {
	for _, test := range []struct {
		text  string
		lower []string
		data  []string
	}{
		{"/a", []string{"/a"}, nil},
		{"/a:/b", []string{"/a", "/b"}, nil},
		{`/a\:b:/c\\d:/e\,f`, []string{"/a:b", `/c\d`, "/e,f"}, nil},
		{"/a:/b::/c::/d", []string{"/a", "/b"}, []string{"/c", "/d"}},
	} {
		lower, data := splitLayers(test.text)
		if !slices.Equal(lower, test.lower) || !slices.Equal(data, test.data) {
			t.Errorf("splitLayers(%q) = %q, %q, want %q, %q", test.text, lower, data, test.lower, test.data)
		}
	}
}
