package fence

// Confinement is what a process gives away for ever.
type Confinement struct {
	// NoFiles: it opens no file that does not lie below ReadOnly.
	NoFiles  bool
	ReadOnly []string
	// NoNetwork: it makes no sockets. NoPrograms: it starts no programs, and looks into none.
	NoNetwork  bool
	NoPrograms bool
	// Memory bounds its data, in bytes; 0 for no bound.
	Memory int64
	// CPUSeconds and OpenFiles are bounds as well; 0 for none.
	CPUSeconds int64
	OpenFiles  int64
}
