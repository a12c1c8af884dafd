package kmod

// A Tree is the index of one /lib/modules/VERSION, read once. It is safe for use by many goroutines.
type Tree struct {
	dir     string
	version string
	modules map[string]*Module
	builtin map[string]bool
}

// Open reads the index of the tree in dir: modules.dep must be there (see [Depmod]), the others may be.
func Open(dir string) (*Tree, error) { panic("TODO") }

// Version is the name of the tree's folder, which is the kernel's release (uname -r).
func (t *Tree) Version() string { return t.version }

// Dir is the folder that the tree was read from.
func (t *Tree) Dir() string { return t.dir }

// Resolve gives the modules that the names need, each after all that it depends on, in an order that depends on the
// arguments alone. A name is a module's or an alias. What is built in is left out. An unknown name is a [MissingError]
// in want and is reported in missing for optional.
func (t *Tree) Resolve(want, optional []string) (order []Module, missing []string, err error) {
	panic("TODO")
}

// Has tells whether the kernel has a module or alias of that name, and whether it is built in.
func (t *Tree) Has(name string) (there, builtin bool) { panic("TODO") }

// ReadModule gives a module's ELF file, decompressed.
func (t *Tree) ReadModule(m Module) ([]byte, error) { panic("TODO") }

// Depmod writes modules.dep, modules.alias and modules.softdep for the tree in dir from the modules' own .modinfo.
func Depmod(dir string) error { panic("TODO") }
