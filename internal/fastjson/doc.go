// Package fastjson reads and writes JSON (RFC 8259) for types that it is told of by hand.
//
// It is for what encoding/json reads and writes too, in a process that lives for milliseconds. encoding/json looks at each
// type that it meets, with all that it consists of, and keeps what it finds for the next time. Where there is no next time,
// that look takes ten times as long as the text.
//
//	text ──► Reader ──► all of it is usual ──────────────► value
//	            │
//	            └─ gives up ──► encoding/json ──► value, or error
//
// The Reader is no judge of a text. What it is not sure of it gives up on: an unknown key, or one in other letters; null; a
// number with a fraction; whatever has an error. The caller then asks encoding/json, which has the last word. So there is one
// promise to keep: what was read without giving up, encoding/json reads in the same way. What a text has twice shows what that
// takes: encoding/json reads the second into the first. So a list or a part that is there already is not read once more, while
// of two numbers the last one counts, here as there.
//
// The Writer writes what encoding/json would write, to the byte. Whatever is more than plain ASCII in a string, both leave to
// encoding/json.
//
// A type is told of by a function that reads one field of it, which the text names by its key:
//
//	func rootField(r *fastjson.Reader, key string, root *specs.Root) {
//		switch key {
//		case "path":
//			root.Path = r.String()
//		case "readonly":
//			root.Readonly = r.Bool()
//		default:
//			r.GiveUp()
//		}
//	}
package fastjson
