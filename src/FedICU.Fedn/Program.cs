using FedICU;
using FedICU.Fedn;

WebApplication? app = null;
try
{
    try
    {
        app = FednHost.Build(args);
        await app.StartAsync();
    }
#pragma warning disable CA1031 // until the host listens, every failure is one of its configuration: a port that is taken, a certificate that is missing, a file that is not JSON
    catch (Exception e)
#pragma warning restore CA1031
    {
        await Console.Error.WriteLineAsync(e is FedIcuException ? e.Message : $"The host cannot start: {FednHost.Describe(e)}");
        return 1;
    }

    await app.WaitForShutdownAsync();
    return 0;
}
finally
{
    if (app is not null)
        await app.DisposeAsync();
}
