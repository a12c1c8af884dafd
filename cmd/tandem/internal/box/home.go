package box

import (
	"fmt"
	"os"
	"path/filepath"

	"tandem/container"
	"tandem/container/image"
	"tandem/internal/lock"
)

// RunVariable names the folder of what does not outlive the machine's run, in the place of the default one.
const RunVariable = "TANDEM_RUN"

// Home is where boxes are. Several processes may use it at the same time.
type Home struct {
	Run  string // records: what a reboot may take
	Data string // layers and logs

	// Foreign, if not nil, tells of the ID of a network lease that is no box's whether somebody else needs it.
	Foreign func(id string) bool
}

// Open gives the home of whoever calls. It makes no folder.
func Open() (*Home, error) {
	data, err := image.DefaultRoot()
	if err != nil {
		return nil, err
	}
	run := os.Getenv(RunVariable)
	switch dir := os.Getenv("XDG_RUNTIME_DIR"); {
	case run != "":
	case os.Geteuid() == 0:
		run = "/run/tandem"
	case dir == "":
		return nil, fmt.Errorf("box: neither XDG_RUNTIME_DIR nor %s is set: where shall boxes be recorded?", RunVariable)
	default:
		run = filepath.Join(dir, "tandem")
	}
	if run, err = filepath.Abs(run); err != nil {
		return nil, err
	}
	if data, err = filepath.Abs(data); err != nil {
		return nil, err
	}
	return &Home{Run: run, Data: data}, nil
}

const boxesFolder = "boxes"

func (h *Home) runFolder(id string) string  { return filepath.Join(h.Run, boxesFolder, id) }
func (h *Home) dataFolder(id string) string { return filepath.Join(h.Data, boxesFolder, id) }

// Engine makes the home's containers.
func (h *Home) Engine() *container.Engine {
	return &container.Engine{Root: filepath.Join(h.Run, "engine")}
}

// Images is the store that the home's boxes take their layers from.
func (h *Home) Images() (*image.Store, error) { return image.Open(h.Data) }

// lock keeps others from taking names, and from collecting, until unlock is called.
func (h *Home) lock() (unlock func(), err error) {
	if err := os.MkdirAll(h.Run, 0o711); err != nil {
		return nil, err
	}
	return lock.File(filepath.Join(h.Run, "lock"))
}
