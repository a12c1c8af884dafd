// Package format prints what a verb has found by a Go template of the user's, as docker's --format does.
//
// A verb that lists things makes a [Row] of each, a map of names to what docker prints by them, and a heading of the same
// names:
//
//	--format 'table {{.ID}}\t{{.Names}}'
//
//	heading   {ID: "CONTAINER ID", Names: "NAMES"}  ──┐                 ┌──► CONTAINER ID   NAMES
//	rows      {ID: "4bd54475a30a", Names: "web"}    ──┼─ the template ──┼──► 4bd54475a30a   web
//	          {ID: "10d6b9c74b1d", Names: "db"}     ──┘                 └──► 10d6b9c74b1d   db
//
// The heading also says which names there are: [Parse] refuses another, be there things to print or not. A verb that
// inspects has documents in the place of rows ([Documents]).
//
// The values are strings that came from whoever made a container or an image, and are data to the template, never a part
// of it.
package format
