using FedICU.Tests;

namespace FedICU.Cli.Tests;

/// <summary>Checks the notices of the licenses of the libraries that ship with the tool.</summary>
public sealed class NoticesTests
{
    [Test]
    public void TheNoticesNameEveryLibraryOfTheTool()
    {
        string[] packages = ThirdPartyNotices.PackagesOf("fedicu");
        Assert.That(packages, Is.SupersetOf((string[])["ILGPU", "Spectre.Console", "System.CommandLine", "System.Numerics.Tensors"]));
        Assert.That(packages.Except(ThirdPartyNotices.Lines()), Is.Empty);
    }

    [Test]
    public void TheLicenseOfIlgpuIsComplete()
    {
        string text = string.Join('\n', ThirdPartyNotices.Lines());
        foreach (string part in (string[])
        [
            "University of Illinois/NCSA Open Source License\nCopyright (c) 2016-2025 ILGPU Project\nAll rights reserved.",
            "Permission is hereby granted, free of charge, to any person obtaining a copy of\n" +
                "this software and associated documentation files (the \"Software\"), to deal with\nthe Software",
            "    * Redistributions in binary form must reproduce the above copyright notice,\n",
            "    * Neither the names of ILGPU, Marcel Koester, nor the names of its\n",
            "IN NO EVENT SHALL THE CONTRIBUTORS\nOR COPYRIGHT HOLDERS BE LIABLE",
        ])
        {
            Assert.That(text, Does.Contain(part));
        }
    }
}
