package manifest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Load reads the documents of files and of directories: of a directory every
// .yaml and .yml file in it and below, by name, except in what is hidden. When
// anything is wrong with what is written the error is Errors, with the mistakes
// of all files; other errors are of reading.
func Load(paths ...string) ([]Doc, error) {
	var docs []Doc
	var mistakes Errors
	for _, path := range paths {
		files, err := filesOf(path)
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			parsed, err := parseFile(file)
			if wrong, ok := AsErrors(err); ok {
				mistakes = append(mistakes, wrong...)
			} else if err != nil {
				return nil, err
			}
			docs = append(docs, parsed...)
		}
	}
	if len(mistakes) > 0 {
		return nil, mistakes
	}
	return docs, nil
}

func parseFile(name string) ([]Doc, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, readError(name, err)
	}
	defer f.Close()
	return Parse(name, f)
}

// filesOf gives the path itself, or the files of the directory that it is.
func filesOf(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, readError(path, err)
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	var files []string
	err = filepath.WalkDir(path, func(name string, entry fs.DirEntry, err error) error {
		switch hidden := name != path && strings.HasPrefix(entry.Name(), "."); {
		case err != nil:
			return err
		case hidden && entry.IsDir():
			return fs.SkipDir
		case !hidden && !entry.IsDir() && slices.Contains([]string{".yaml", ".yml"}, filepath.Ext(name)):
			files = append(files, name)
		}
		return nil
	})
	if err != nil {
		return nil, readError(path, err)
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s holds no .yaml or .yml file", path)
	}
	return files, nil
}

// readError says the path once.
func readError(path string, err error) error {
	if cause, ok := errors.AsType[*fs.PathError](err); ok {
		path, err = cause.Path, cause.Err
	}
	return fmt.Errorf("reading %s: %w", path, err)
}
