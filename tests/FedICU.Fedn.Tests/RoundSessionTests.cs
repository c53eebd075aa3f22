namespace FedICU.Fedn.Tests;

/// <summary>Which uploads a change of a combiner's round ends.</summary>
internal sealed class RoundSessionTests
{
    [Test]
    public void AGlobalModelEndsTheUploadsOfClientsAndNoneOfAGlobalModel()
    {
        string folder = Directory.CreateTempSubdirectory("fedicu-test-").FullName;
        using var spool = new Spool(Path.Combine(folder, "spool"), long.MaxValue);
        var session = new RoundSession(spool, Path.Combine(folder, "spool", "session"), "combiner:12080");
        Upload client = session.BeginUpload("a", default), global = session.BeginUpload(ClientId.GlobalModel, default);
        SpoolFile file = session.NewFile(".safetensors");
        File.WriteAllText(file.Path, "a model");
        file.Seal();
        session.SetGlobal(file, "digest");
        Assert.That((client.IsTooLate, client.Token.IsCancellationRequested), Is.EqualTo((true, true)));
        Assert.That((global.IsTooLate, global.Token.IsCancellationRequested), Is.EqualTo((false, false)));

        // a newer one ends it, also now
        Upload newer = session.BeginUpload(ClientId.GlobalModel, default);
        Assert.That((global.IsTooLate, newer.IsTooLate), Is.EqualTo((true, false)));
        foreach (Upload upload in (Upload[])[client, global, newer])
            session.EndUpload(upload);
        session.Remove();
        spool.Dispose();
        Directory.Delete(folder, recursive: true);
    }
}
