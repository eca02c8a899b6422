package fence

// Confinement is what a process gives away for ever.
type Confinement struct {
	// NoFiles: it reads nothing but what lies below ReadOnly or ReadWrite, and writes
	// nothing but what lies below ReadWrite. What is not there is passed over.
	NoFiles   bool     `json:"noFiles,omitempty"`
	ReadOnly  []string `json:"readOnly,omitempty"`
	ReadWrite []string `json:"readWrite,omitempty"`
	// Listed are directories whose names may be read, and nothing else of them.
	Listed []string `json:"listed,omitempty"`
	// NoNetwork: it makes no sockets. Watched: somebody answers for them. NoPrograms: it starts no programs, and looks into none.
	NoNetwork  bool `json:"noNetwork,omitempty"`
	Watched    bool `json:"watched,omitempty"`
	NoPrograms bool `json:"noPrograms,omitempty"`
	// NoServices: nobody reaches it who is not asked; for one that is watched.
	NoServices bool `json:"noServices,omitempty"`
	// Memory bounds the data of each of its processes, and FileSize each file that it
	// writes, in bytes; CPUSeconds, OpenFiles and Processes bound the rest. 0 for no bound.
	Memory     int64 `json:"memory,omitempty"`
	FileSize   int64 `json:"fileSize,omitempty"`
	CPUSeconds int64 `json:"cpuSeconds,omitempty"`
	OpenFiles  int64 `json:"openFiles,omitempty"`
	Processes  int64 `json:"processes,omitempty"`
	// Disk bounds what lies below ReadWrite all in all, in bytes. It is for whoever looks.
	Disk int64 `json:"disk,omitempty"`
	// UID and GID are as whom it goes on; nil as who it is. It must be root for that.
	UID *int64 `json:"uid,omitempty"`
	GID *int64 `json:"gid,omitempty"`
}
