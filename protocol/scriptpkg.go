package protocol

// ScriptPackageSyncState reports how far the satellite's package tree is (G.6).
type ScriptPackageSyncState struct {
	LockfileHash *string   `json:"lockfileHash"`
	Status       SyncState `json:"status"`
	ErrorMessage string    `json:"errorMessage,omitempty"`
}

// SyncState is one of pending, syncing, ready, error.
type SyncState string

const (
	SyncPending SyncState = "pending"
	SyncSyncing SyncState = "syncing"
	SyncReady   SyncState = "ready"
	SyncError   SyncState = "error"
)

// RequestScriptPackageManifest asks what a lockfile hash holds (A.5).
type RequestScriptPackageManifest struct {
	LockfileHash string `json:"lockfileHash"`
}

// RequestScriptPackageBlob asks for one package by its integrity (A.5).
type RequestScriptPackageBlob struct {
	Integrity string `json:"integrity"`
}

// RefreshScriptPackages asks the satellite to converge to the hash (A.6).
type RefreshScriptPackages struct {
	LockfileHash string `json:"lockfileHash"`
}

// ScriptPackageManifest answers RequestScriptPackageManifest.
type ScriptPackageManifest struct {
	LockfileHash string          `json:"lockfileHash"`
	Entries      []ManifestEntry `json:"entries"`
	// Error says why there are no entries (feature chunk). Original agents are not
	// answered instead: they take an empty list for an empty tree (spec M82).
	Error string `json:"perigeeError,omitempty"`
}

// ManifestEntry is one package of a manifest.
type ManifestEntry struct {
	Name       string `json:"name"`
	Version    string `json:"version"`
	Integrity  string `json:"integrity"`
	BlobSha256 string `json:"blobSha256,omitempty"`
	// Paths are where the package lies in the tree, such as "node_modules/a" and
	// "node_modules/b/node_modules/a" (spec M84). Original cores do not say.
	Paths []string `json:"perigeePaths,omitempty"`
}

// ScriptPackageBlob answers RequestScriptPackageBlob; Data is base64 or null.
type ScriptPackageBlob struct {
	Integrity string  `json:"integrity"`
	Data      *string `json:"data"`
}

// BlobRequest asks for a piece of a package's blob (feature chunk): Length bytes,
// at most MaxChunk, from Offset. A transfer that was cut goes on where it was.
type BlobRequest struct {
	RequestID string `json:"requestId"`
	Integrity string `json:"integrity"`
	Offset    int64  `json:"offset"`
	Length    int64  `json:"length"`
}

// BlobChunk answers BlobRequest with Data, in base64, or with Error. A piece that is
// shorter than was asked for is the last.
type BlobChunk struct {
	RequestID string `json:"requestId"`
	Offset    int64  `json:"offset"`
	// Total is the size of the whole blob in bytes, Sha256 its digest in hex.
	Total  int64  `json:"total,omitempty"`
	Sha256 string `json:"sha256,omitempty"`
	Data   string `json:"data,omitempty"`
	Error  string `json:"error,omitempty"`
}
