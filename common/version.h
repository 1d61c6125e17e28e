/* The version every program prints. */
#ifndef COFFRE_VERSION_H
#define COFFRE_VERSION_H

#define COFFRE_VERSION "0.1.0"

#endif
