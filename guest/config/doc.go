// Package config is what the host tells the guest's init.
//
// A guest of tandem's starts on an initramfs that two archives make up. The first holds what every guest shares: the
// tandem executable as /init, a shell, kernel modules. It is built once and kept. The second is written for each run
// and holds, next to the user's files, one small document:
//
//	               host                                         guest
//	config.Config ---Encode---> /etc/tandem/init.json ---Read---> pid 1
//
// So everything that differs from run to run travels in that document, and nothing on the kernel's command line,
// which the user owns.
//
// Pid 1 has nobody to complain to but the console, and a setting that it silently skips is a long hunt. The document is
// therefore read strictly: an unknown key, a key given twice, a value out of range or text after the end is an error
// that names the key and the value.
package config
