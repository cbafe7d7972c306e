"""What several tests share: networks by hand, exported programs, files of data sets, damage."""
