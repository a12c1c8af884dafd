package child

import "os"

// Beforehand keeps in a register a descriptor that the parent opens right before it makes the child, as [Program.Late]
// does. It is shown as a step, since it is a request to the kernel like the child's own.
func (p *Program) Beforehand(op, object, why string, open func() (*os.File, error), args ...Arg) Reg {
	r := p.Reg()
	file := p.Late("fd", "", open)
	file.hidden = true
	p.move(step{op: op, object: object}, why, r, file)
	p.tell(append([]Arg{file}, args...)...)
	return r
}
